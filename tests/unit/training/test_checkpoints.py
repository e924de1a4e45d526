"""Checkpoints that cannot be written."""

from pathlib import Path

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.training.checkpoints import DurableCheckpointIO
from src.training.weights import load_model
from tests.helpers.limits import files_of_at_most
from tests.helpers.targets import CONFIG


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path):
    path, io = tmp_path / "last.ckpt", DurableCheckpointIO()
    io.save_checkpoint({"epoch": 1}, path)
    message = r"last.ckpt cannot be written \(File too large\)"
    with files_of_at_most(100), pytest.raises(UserError, match=message):
        io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path) == {"epoch": 1}
    assert not list(tmp_path.glob(".*.part"))


def test_lazy_layers_may_have_no_values_before_the_first_batch(tmp_path: Path):
    DurableCheckpointIO().save_checkpoint({"state_dict": nn.LazyLinear(2).state_dict()}, tmp_path / "trial.ckpt")


def test_a_checkpoint_with_other_weights_is_refused_in_one_line(tmp_path: Path):
    torch.save({"config": CONFIG, "state_dict": {"another": torch.ones(1)}}, path := tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"^[^\n]+is not a checkpoint of this project[^\n]+$"):
        load_model(path)

"""Checkpoints that cannot be written."""

from pathlib import Path

import pytest
from torch import nn

from src.training.checkpoints import DurableCheckpointIO
from tests.helpers.limits import files_of_at_most


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path):
    from src.errors import UserError

    path, io = tmp_path / "last.ckpt", DurableCheckpointIO()
    io.save_checkpoint({"epoch": 1}, path)
    message = r"last.ckpt cannot be written \(File too large\)"
    with files_of_at_most(100), pytest.raises(UserError, match=message):
        io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path) == {"epoch": 1}
    assert not list(tmp_path.glob(".*.part"))


def test_lazy_layers_may_have_no_values_before_the_first_batch(tmp_path: Path):
    DurableCheckpointIO().save_checkpoint({"state_dict": nn.LazyLinear(2).state_dict()}, tmp_path / "trial.ckpt")

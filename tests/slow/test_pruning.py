"""Weights that are pruned are zero from then on, in every file, on every process and after a resume."""

import pytest
import torch

from src.callbacks.pruning import sparsity
from src.training.weights import load_model
from tests.conftest import Command
from tests.helpers.pruning import PRUNED


def test_two_processes_prune_the_same_weights_as_one(train: Command):
    words = ["data.steps_per_execution=8", "trainer.precision=64-true"]  # so exact that no two weights change places
    done = train("-m", *PRUNED, *words, "trainer.devices=1,2", "optimizer=sgd")
    assert done.status == 0, done.stdout + done.stderr
    one, two = (load_model(directory / "checkpoints/last.ckpt").classifier.net for directory in done.directories)
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter, two.get_parameter(name), rtol=0, atol=1e-6, msg=name)
    assert sparsity(two) == pytest.approx(0.75, abs=1e-4)

"""Differentially private training in two processes is that of one, with the same noise and the same budget."""

import pytest
import torch

from tests.conftest import Command, Fit

WORDS = ["experiment=private", "trainer.accelerator=cpu", "task.epsilon=null", "task.noise=2", "task.delta=1e-4"]


@pytest.mark.parametrize(
    "words",
    [
        ["data.batch_size=128"],
        # Half the batches are empty on at least one rank.
        ["data.train_size=40", "data.batch_size=2"],
    ],
)
def test_two_processes_train_and_spend_what_one_does(train: Command, fit_here: Fit, words: list[str]):
    done = train(*WORDS, *words, "trainer.devices=2")
    assert done.status == 0, done.stderr
    [run], [directory] = done.runs, done.directories
    assert "sync_dist" not in (directory / "train.log").read_text()  # in a warning of Lightning's
    alone = fit_here(*WORDS, *words)
    assert run["metrics"]["privacy/epsilon"] == alone["metrics"]["privacy/epsilon"] > 0
    for name in ("train/loss", "train/acc", "val/loss", "test/loss"):
        assert run["metrics"][name] == pytest.approx(alone["metrics"][name], rel=1e-4)
    one, two = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (alone["directory"], directory)
    )
    assert one["privacy"] == two["privacy"]
    for name, weights in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weights, rtol=1e-4, atol=1e-5)
    assert run["samples_by_threads"].popitem()[1] > 0


def test_with_the_systems_randomness_both_processes_draw_the_same(train: Command):
    done = train(*WORDS, "data.batch_size=128", "task.randomness=system", "trainer.devices=2")
    assert done.status == 0, done.stderr
    assert done.runs[0]["metrics"]["privacy/epsilon"] > 0

"""Whole commands, as a person types them: real processes, real MNIST, real files."""

import pytest

from tests.conftest import Command


def test_one_and_two_devices_in_one_sweep(train: Command):
    done = train("-m", "trainer.devices=1,2", "trainer.max_epochs=1", "trainer.precision=64-true")
    assert done.status == 0, done.stderr
    one, two = done.runs
    assert (one["environment"]["devices"], two["environment"]["devices"]) == (1, 2)
    for name in ("train/loss", "test/loss"):
        assert one["metrics"][name] == pytest.approx(two["metrics"][name], abs=1e-9)


def test_the_article_reaches_its_accuracy_on_the_whole_of_mnist(command: Command):
    done = command("train", "experiment=article")
    assert done.status == 0, done.stderr
    # The recipe spreads by a third of a point over seeds, and over machines that round differently.
    assert 0.960 <= done.runs[0]["metrics"]["test/acc"] <= 0.982


def test_the_articles_variants_are_above_ninety_percent(command: Command):
    done = command("train", "-m", "experiment=article_sigmoid,article_squared_error,article_sgd")
    assert done.status == 0, done.stderr
    assert all(run["metrics"]["test/acc"] > 0.9 for run in done.runs)

"""What a model bears: attacks, training against them, and the table of ``evaluate --robustness``."""

import pytest

from tests.conftest import Command

# -- training on attacked samples


def test_two_processes_attack_the_same_samples(train: Command):
    words = ["callbacks=adversarial", "trainer.max_epochs=1", "trainer.precision=64-true"]  # an attack takes signs
    done = train("-m", *words, "trainer.devices=1,2")
    assert done.status == 0, done.stdout + done.stderr
    one, two = done.runs
    assert one["metrics"]["train/loss"] == pytest.approx(two["metrics"]["train/loss"], abs=1e-9)

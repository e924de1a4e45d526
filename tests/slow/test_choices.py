"""Every choice of every group trains, alone and where it matters on two processes, and does what it says."""

import pytest

from tests.conftest import Command
from tests.helpers.choices import TEN
from tests.helpers.training import SMOOTH


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=sgd,momentum,nesterov,adam,adamw,rmsprop,adagrad,muon", "trainer.precision=64-true"],
        ["schedule=constant,step,exponential,cosine,one_cycle,plateau", "trainer.precision=64-true"],
        ["trainer.precision=32-true,bf16-mixed,64-true", "callbacks=default,ema", SMOOTH],
    ],
)
def test_optimizers_schedules_and_precisions_on_two_processes(command: Command, words: list[str]):
    done = command("train", "-m", *TEN, *words, "trainer.devices=1,2")
    assert done.status == 0, done.stdout + done.stderr
    by_setting: dict[str, dict[int, float]] = {}
    for run in done.runs:
        devices = run["environment"]["devices"]
        setting = " ".join(word for word in run["overrides"] if "devices" not in word)
        by_setting.setdefault(setting, {})[devices] = run["metrics"]["train/loss"]
    for setting, losses in by_setting.items():
        # A bf16 sum is good to three digits only.
        tolerance = 1e-2 if "bf16" in setting else 1e-5 if "32-true" in setting else 1e-9
        assert losses[1] == pytest.approx(losses[2], abs=tolerance), setting


def test_a_distillation_on_few_samples_of_each_class_on_two_processes(command: Command):
    teacher = command("train", *TEN, "name=teacher")
    assert teacher.status == 0, teacher.stderr
    words = ["task=distillation", "task.teacher=teacher", "data.train_size=null", "data.per_class=7"]
    done = command(
        "train", "-m", *TEN, *words, "data.batch_size=16", "trainer.precision=64-true", "trainer.devices=1,2"
    )
    assert done.status == 0, done.stdout + done.stderr
    one, two = (run["metrics"] for run in done.runs if run["name"] != "teacher")
    assert one["train/loss"] == pytest.approx(two["train/loss"], rel=1e-9)
    assert one["val/loss"] == pytest.approx(two["val/loss"], rel=1e-9)

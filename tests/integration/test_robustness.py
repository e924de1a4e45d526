"""What a model bears: attacks, training against them, and the table of ``evaluate --robustness``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import src.evaluate
from src.analysis import corruptions, evaluation
from src.data.mnist import MNIST
from src.errors import ConfigError, Interrupted, UserError
from src.records.record import Record
from src.tasks.attacks import fgsm, pgd
from src.training.weights import load_model
from tests.conftest import SMALL, Command, Fit
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import Cut
from tests.helpers.robustness import images, random

__all__ = ["images"]


ATTACKED = [*SMALL, "callbacks=adversarial", "callbacks.adversarial.steps=2"]


# -- training on attacked samples


def test_trained_against_an_attack_a_network_bears_it_better(fit_here: Fit, images):
    words = [
        "data.train_size=5000",
        "data.val_size=0",
        "trainer.max_epochs=8",
        "model.hidden=[64]",
        "optimizer.lr=3e-3",
    ]
    inputs, labels = images
    bears = {}
    for choice in ("default", "adversarial"):
        done = fit_here(*words, f"callbacks={choice}", small=False)
        trained = load_model(done["directory"] / "checkpoints/last.ckpt")
        changed = pgd(trained, inputs, labels, 0.1, steps=10, step_size=0.025, random=random(inputs))
        with torch.no_grad():
            bears[choice] = float((trained(changed).argmax(1) == labels).float().mean())
    assert bears["adversarial"] > bears["default"] + 0.2, bears


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_each_sample_is_attacked_against_the_weights_of_its_own_step(fit_here: Fit, attack: str):
    words = [*ATTACKED, f"callbacks.adversarial.attack={attack}", "model.dropout=0.2"]
    one, five = (
        weights(fit_here(*words, f"data.steps_per_execution={steps}", small=False)["directory"]) for steps in (1, 5)
    )
    assert not differences(one, five)


def test_a_step_is_that_of_the_attacked_samples_by_hand(fit_here: Fit):
    words = ["data.train_size=64", "data.val_size=0", "trainer.max_epochs=1", "model.hidden=[16]", "optimizer=sgd"]
    words += ["callbacks=adversarial", "callbacks.adversarial.attack=fgsm", "callbacks.adversarial.share=0.25"]
    first: dict[str, Any] = {}

    class Keep(pl.Callback):
        accepts_chunks = True

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            first["batch"] = batch
            first["model"] = {name: value.clone() for name, value in pl_module.state_dict().items()}

    directory = fit_here(*words, small=False, extra=[Keep()])["directory"]
    trained = load_model(directory / "checkpoints/last.ckpt")
    after = {name: value.clone() for name, value in trained.classifier.net.state_dict().items()}
    trained.classifier.load_state_dict(first["model"])
    inputs, labels = trained.normalize.inverse(first["batch"].inputs), first["batch"].labels
    inputs[:16] = fgsm(trained, inputs[:16], labels[:16], 0.1)
    (trained.loss(trained(inputs), labels) / 64).backward()
    for name, parameter in trained.classifier.net.named_parameters():
        assert torch.allclose(after[name], parameter - 0.1 * parameter.grad, atol=1e-6), name


@pytest.mark.parametrize("cut", [(2, "told"), (4, "killed")])
def test_cut_off_and_resumed_it_ends_as_if_it_had_not_been(fit_here: Fit, tmp_path: Path, cut: tuple[int, str]):
    words = [*ATTACKED, "data.steps_per_execution=3", "model.dropout=0.3"]
    directory = tmp_path / "cut"
    with pytest.raises((Interrupted, RuntimeError)):
        fit_here(*words, extra=[Cut(*cut)], small=False, into=directory)
    fit_here(*words, small=False, into=directory)
    assert not differences(outcome(directory), outcome(fit_here(*words, small=False)["directory"]))


def test_what_cannot_be_attacked_is_refused_in_a_sentence(fit_here: Fit):
    with pytest.raises(UserError, match="grey values") as refused:
        fit_here("experiment=article_binary", "callbacks=adversarial", "trainer.max_epochs=1", small=False)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ConfigError, match=r"epsilon=1\.5"):
        fit_here("callbacks=adversarial", "callbacks.adversarial.epsilon=1.5")


# -- the table


@pytest.fixture
def evaluated(train_here: Command, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run ``evaluate`` here and return what it prints, read as JSON if that is asked for."""

    def run(*words: str, status: int = 0) -> Any:
        capfd.readouterr()
        assert src.evaluate.main(list(words)) == status
        said = capfd.readouterr()
        if status:
            return said.err
        return json.loads(said.out) if "--json" in words else said.out

    return run


def test_the_table_is_what_comes_out_by_hand(train_here: Command, evaluated: Callable[..., Any]):
    [directory] = train_here("seed=4").directories
    entry = evaluated("latest", "split=val", "--robustness", "--json")
    record = Record.load(directory)
    assert record.values["evaluations"] == [entry]
    rows = {(row["change"], row["strength"]): row["acc"] for row in entry["robustness"]}
    assert {change for change, _ in rows} == {
        "clean", "noise", "blur", "rotation", "shift", "erased", "fgsm", "pgd"
    }  # fmt: skip
    assert rows["clean", 0.0] == pytest.approx(entry["metrics"]["val/acc"], abs=1e-7)
    data = MNIST(val_size=500, seed=4)
    data.setup("validate")
    [chunk] = data.val_dataloader()  # sums over other batches may round differently
    model = load_model(directory / "checkpoints/best.ckpt")
    for name, changed in (
        (("shift", 2.0), corruptions.shift(chunk.inputs, 2)),
        (("fgsm", 0.05), fgsm(model, chunk.inputs, chunk.labels, 0.05)),
    ):
        with torch.no_grad():
            right = int((model(changed).argmax(1) == chunk.labels).sum())
        assert rows[name] == right / 500
    assert rows["pgd", 0.1] <= rows["fgsm", 0.1] + 0.01


def test_measured_again_it_is_the_same_and_replaces_the_picture(train_here: Command, evaluated: Callable[..., Any]):
    [directory] = train_here().directories
    entry = evaluated("latest", "split=val", "--robustness", "--json")
    printed = evaluated("latest", "split=val", "--robustness")
    first, second = Record.load(directory).values["evaluations"]
    assert first == entry
    assert second["robustness"] == first["robustness"]
    assert all(f"{row['acc']:.4f}" in printed for row in first["robustness"])
    assert len(EventAccumulator(str(directory)).Reload().Images("robustness")) == 1
    assert len(list(directory.glob("events.out.tfevents.*.robustness"))) == 1


def test_a_run_goes_on_as_if_its_robustness_had_not_been_measured(
    fit_here: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = [*SMALL, "data.train_size=256"]
    directories = [fit_here(*words, "trainer.max_epochs=1", small=False)["directory"] for _ in range(2)]
    record = Record.load(directories[0])
    record.update(status="done")
    evaluation.measure(record, "last", "val", robustness=True).store(record)
    for directory in directories:
        fit_here(*words, small=False, into=directory)
    assert not differences(*map(outcome, directories))


def test_what_holds_no_pictures_is_refused_in_a_sentence(train_here: Command, evaluated: Callable[..., Any]):
    words = ["experiment=article_binary", "trainer.max_epochs=1", "callbacks.best.every_n_epochs=1"]
    done = train_here(*words, small=False)
    said = evaluated("latest", "--robustness", status=1)
    assert "changes images with values from 0 to 255" in said
    assert len(said.splitlines()) == 1
    assert "evaluations" not in Record.load(done.directories[0]).values

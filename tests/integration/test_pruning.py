"""Weights that are pruned are zero from then on, in every file, on every process and after a resume."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.nn.utils import prune

from src.callbacks.pruning import sparsity
from src.errors import Interrupted, UserError
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from src.training.weights import load_model
from tests.conftest import Fit
from tests.helpers.outcome import curves, differences, outcome
from tests.helpers.pruning import PRUNED
from tests.helpers.resume import Cut

STRUCTURED = [*PRUNED, "callbacks.pruning.structured=true"]


def load(done: dict[str, Any], name: str) -> Classifier:
    return load_model(done["directory"] / "checkpoints" / f"{name}.ckpt").classifier


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_both_checkpoints_hold_ordinary_weights_with_the_share_of_zeros_that_was_asked_for(
    fit_here: Fit, optimizer: str
):
    done = fit_here(*PRUNED, f"optimizer={optimizer}", small=False)
    for name in ("best", "last"):
        model = load(done, name)
        assert set(model.state_dict()) == {f"net.layers.{n}.{part}" for n in (0, 2, 4) for part in ("weight", "bias")}
        assert sparsity(model.net) == pytest.approx(0.75, abs=1e-4)
    assert done["best"]["epoch"] >= 2  # not of the epochs before, when it was better


class Steps(pl.Callback):
    """Keeps the sparsity after each chunk."""

    accepts_chunks = True

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.values.append(sparsity(pl_module.net))


def test_sparsity_rises_by_the_cubic_and_is_a_curve(fit_here: Fit):
    words = [word for word in PRUNED if not word.startswith(("data.train_size", "data.steps"))]
    words += ["data.train_size=25600", "data.steps_per_execution=100", "trainer.max_epochs=3", "model.hidden=[8]"]
    steps = Steps()
    done = fit_here(
        *words, "callbacks.pruning.start_epoch=0.5", "callbacks.pruning.end_epoch=2", small=False, extra=[steps]
    )
    # 400 steps an epoch, from 200 to 800
    shares = [0.0 if at <= 200 else 0.75 * (1 - (1 - min(1, (at - 200) / 600)) ** 3) for at in range(100, 1300, 100)]
    assert steps.values == pytest.approx(shares, abs=1e-3)
    points = curves(done["directory"])["sparsity"]
    assert points[-1] == (1200, pytest.approx(0.75, abs=1e-3))


def test_in_one_go_it_takes_what_torch_would_take(fit_here: Fit):
    """A rate of almost nothing, so that the weights at the end are those that were pruned."""
    words = [*PRUNED, "callbacks.pruning.start_epoch=1", "callbacks.pruning.end_epoch=1", "optimizer=sgd"]
    words += ["optimizer.lr=1e-12"]
    pruned = load(fit_here(*words, small=False), "last").net
    plain = load(fit_here(*words, "callbacks.pruning.amount=1e-6", small=False), "last").net
    layers = [(layer, "weight") for layer in plain.modules() if isinstance(layer, torch.nn.Linear)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.75)
    for number in (0, 2, 4):
        expected = plain.get_submodule(f"layers.{number}").weight
        assert torch.allclose(pruned.get_parameter(f"layers.{number}.weight"), expected, atol=1e-8)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_units_that_are_pruned_can_be_cut_out(fit_here: Fit, activation: str):
    model = load(fit_here(*STRUCTURED, f"model.activation={activation}", small=False), "best")
    kept = []
    for number, width in ((0, 16), (2, 12)):
        alive = model.net.get_parameter(f"layers.{number}.weight").ne(0).any(1)
        assert int(alive.sum()) == width // 4
        assert torch.equal(model.net.get_parameter(f"layers.{number}.bias").ne(0), alive)
        assert torch.equal(model.net.get_parameter(f"layers.{number + 2}.weight").ne(0).any(0), alive)
        kept.append(alive)
    net = MLP(input_shape=(28, 28), outputs=10, hidden=[4, 3], activation=activation)
    small = Classifier(net=net, classes=10).eval()
    state = model.net.state_dict()
    first, second = kept
    state = {
        "layers.0.weight": state["layers.0.weight"][first],
        "layers.0.bias": state["layers.0.bias"][first],
        "layers.2.weight": state["layers.2.weight"][second][:, first],
        "layers.2.bias": state["layers.2.bias"][second],
        "layers.4.weight": state["layers.4.weight"][:, second],
        "layers.4.bias": state["layers.4.bias"],
    }
    small.net.load_state_dict(state)
    images = torch.rand(50, 28, 28)
    with torch.no_grad():
        assert torch.allclose(small(images), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "cut"), [(PRUNED, (8, "told")), (STRUCTURED, (10, "killed"))], ids=["weights", "units"]
)
def test_cut_off_and_resumed_it_ends_as_if_it_had_not_been(
    fit_here: Fit, tmp_path: Path, words: list[str], cut: tuple[int, str]
):
    directory = tmp_path / "cut"
    with pytest.raises((Interrupted, RuntimeError)):
        fit_here(*words, extra=[Cut(*cut)], small=False, into=directory)
    resumed, whole = fit_here(*words, small=False, into=directory), fit_here(*words, small=False)
    assert not differences(outcome(directory), outcome(whole["directory"]))
    assert not differences(load(resumed, "best").state_dict(), load(whole, "best").state_dict())


def test_given_more_epochs_what_is_pruned_stays_zero(fit_here: Fit):
    done = fit_here(*PRUNED, small=False)
    before = {name: parameter == 0 for name, parameter in load(done, "last").net.named_parameters()}
    fit_here(*PRUNED, "trainer.max_epochs=6", small=False, into=done["directory"])
    after = load(done, "last").net
    assert sparsity(after) == pytest.approx(0.75, abs=1e-4)
    assert all(torch.equal(parameter == 0, before[name]) for name, parameter in after.named_parameters())


def test_units_of_a_network_without_hidden_layers_are_refused_in_a_sentence(fit_here: Fit):
    words = [word for word in STRUCTURED if not word.startswith("model.")]
    with pytest.raises(UserError, match="structured=true") as refused:
        fit_here(*words, "model=linear", small=False)
    assert len(str(refused.value).splitlines()) == 1

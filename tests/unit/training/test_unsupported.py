"""What training would ignore is refused."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import callbacks
from torch import nn

from src.errors import ConfigError
from src.training.check import check_targets
from src.training.unsupported import check_callback, check_callbacks, check_network, check_optimizer
from tests.helpers.targets import CONFIG

# -- what would be accepted and then ignored


def test_a_network_that_trains_itself_or_expects_a_setting_of_the_training_is_refused():
    class Trains(nn.Module):
        def training_step(self, batch, batch_idx):
            pass

    for network in (pl.LightningModule, Trains):
        with pytest.raises(ConfigError, match="training_step"):
            check_network(network, "src.models.mine.Mine")
    check_network(nn.Module, "src.models.mine.Mine")


def test_an_optimizer_that_must_compute_the_loss_itself_is_refused():
    with pytest.raises(ConfigError, match=r"'torch\.optim\.LBFGS' cannot take a step without 'closure'"):
        check_targets({**CONFIG, "optimizer": {"_target_": "torch.optim.LBFGS", "lr": 1.0}})
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.RAdam):
        check_optimizer(optimizer, "it")


REFUSED = (
    callbacks.BackboneFinetuning,
    callbacks.BasePredictionWriter,
    callbacks.BatchSizeFinder,
    callbacks.GradientAccumulationScheduler,
    callbacks.LearningRateFinder,
    callbacks.ModelPruning,
)


@pytest.mark.parametrize("base", REFUSED, ids=lambda base: base.__name__)
def test_a_callback_that_has_no_effect_here_is_refused(base: type[pl.Callback]):
    with pytest.raises(ConfigError, match=r"^callbacks.mine is a \w+ of Lightning's, which .+: .+\.$"):
        check_callback(type("Mine", (base,), {}), "callbacks.mine")


def test_a_task_of_this_project_needs_an_optimizer():
    with pytest.raises(ConfigError, match=r"^optimizer=none: Classifier is trained by an optimizer"):
        check_targets({**CONFIG, "optimizer": None, "schedule": None})


def test_two_callbacks_cannot_share_a_state():
    class Counts(pl.Callback):
        def state_dict(self) -> dict[str, int]:
            return {"n": 1}

    with pytest.raises(ConfigError, match=r"callbacks: 2 have the state_key '.*Counts'"):
        check_callbacks([Counts(), Counts()], 1)
    check_callbacks([pl.Callback(), pl.Callback(), Counts()], 1)
    stopping = [callbacks.EarlyStopping(monitor=name, mode="min") for name in ("val/loss", "train/loss")]
    check_callbacks(stopping, 1)

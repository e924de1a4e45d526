"""Optimizers that a task builds in its constructor, before its parameters have names."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.errors import ConfigError, UserError
from src.training.build import MakeOptimizer, MakeSchedule, check_outputs, make_data, make_network
from tests.helpers.targets import CONFIG


def test_a_task_may_call_the_optimizer_in_its_constructor():
    class Task(pl.LightningModule):
        def __init__(self, optimizer: MakeOptimizer) -> None:
            super().__init__()
            self.net = nn.Linear(2, 1)
            self.own = optimizer(self.net.parameters())

    assert isinstance(Task(MakeOptimizer(CONFIG)).own, torch.optim.Adam)
    grouped = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "param_groups": [{"parameters": "net.*", "lr": 0.1}]}}
    with pytest.raises(ConfigError, match="builds its optimizer in its constructor"):
        Task(MakeOptimizer(grouped))


def test_a_schedule_that_needs_the_length_of_the_training_is_called_later():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(UserError, match="call it in configure_optimizers"):
        MakeSchedule(CONFIG)(optimizer)


def test_lazy_layers_get_their_shapes_from_the_data():
    network = {**CONFIG, "model": {"_target_": "torch.nn.LazyLinear", "out_features": 3}}
    net = make_network(network, MNIST())
    assert net.training
    assert net(torch.zeros(2, 28)).shape == (2, 3)
    assert not any(is_lazy(parameter) for parameter in net.parameters())


def test_a_network_of_other_outputs_is_refused_with_the_setting_to_change():
    [config] = preflight(parse(["model=custom", "model._target_=torchvision.models.shufflenet_v2_x0_5"]))
    data = make_data(config)
    data.input_shape = (3, 32, 32)  # type: ignore[union-attr]
    net = make_network(config, data)
    with pytest.raises(ConfigError, match=r"to \(2, 1000\), and the task needs \(2, 10\): set \+model.num_classes=10"):
        check_outputs(net, config, data)
    assert all(module.training for module in net.modules())

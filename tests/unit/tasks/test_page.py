"""docs/tasks.md: its commands are understood, and it names every loss and metric."""

import re
import shlex
from typing import get_args

import pytest

from src.config.command_line import parse
from src.config.compose import preflight
from src.paths import ROOT
from src.tasks.classification import Classifier
from src.tasks.losses import LossName, RegressionLossName
from src.tasks.regression import Regressor
from src.training.check import check_targets

PAGE = (ROOT / "docs" / "tasks.md").read_text()
COMMANDS = re.findall(r"python -m src\.train ([^`\n]+)", PAGE)


@pytest.mark.parametrize("words", [command for command in COMMANDS if "houses.csv" not in command])
def test_a_command_of_the_page_names_a_training_that_can_begin(words: str):
    [config] = preflight(parse(shlex.split(words)))
    check_targets(config)


def test_every_loss_and_metric_is_on_the_page():
    names = {*get_args(LossName), *get_args(RegressionLossName), *Classifier.metrics, *Regressor.metrics} - {"loss"}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()

"""Tables and cards of records."""

import io

import pytest
from rich.console import Console

from src.errors import ConfigError
from src.records.record import Record
from src.views.listing import order
from src.views.showing import show
from src.views.table import make_table
from tests.conftest import MakeRun
from tests.helpers.runs import card, three

__all__ = ["three"]


# ls, best


def test_runs_without_settings_in_common_are_ordered_all_the_same(three: list[Record]):
    assert order(three, "optimizer.momentum")[0] is three[1]
    assert order(three, "tags")[0] is three[0]
    with pytest.raises(ConfigError, match="did you mean 'duration'"):
        order(three, "duratio")


# Runs on different data


def test_the_card_of_a_run_whose_record_could_not_be_closed(make_run: MakeRun):
    record = make_run("seed=1", status="running", killed=True, duration_s=None, samples_per_s=1000.0)
    assert "interrupted" in card(record)


def test_names_of_metrics_are_shown_as_they_are(make_run: MakeRun):
    record = make_run("seed=1", metrics={"test/acc[bold]": 0.5})
    console = Console(file=io.StringIO(), width=100)
    show(record, console)
    console.print(make_table("", {"test/acc[bold]": ["0.5"]}, {}, 100))
    assert console.file.getvalue().count("test/acc[bold]") == 2

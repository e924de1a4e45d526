"""Tables and cards of records."""

import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from src.errors import ConfigError
from src.records.record import Record
from src.records.settings import shown_names
from src.records.summary import summary
from src.views.listing import asked_for, details, order, table
from src.views.showing import show
from src.views.table import Column, brief, fit, print_table
from tests.conftest import MakeRun
from tests.helpers.runs import card, three

__all__ = ["three"]


# ls, best


def test_only_fractions_are_rounded():
    words = ["0.0123456", "1e-07", "1.0", "1e+30", "64", "1.10", "infinity", "[0.123456]", ""]
    assert [brief(word) for word in words] == ["0.01235", *words[1:]]


def test_runs_without_settings_in_common_are_ordered_all_the_same(three: list[Record]):
    assert order(three, "optimizer.momentum")[0] is three[1]
    assert order(three, "tags")[0] is three[0]
    with pytest.raises(ConfigError, match="did you mean 'duration'"):
        order(three, "duratio")


# Runs on different data


def test_small_values_are_not_rounded_to_zero(make_run: MakeRun):
    best = {"metric": "val/loss", "value": 3e-5, "epoch": 1, "checkpoint": "best.ckpt"}
    first, second = (
        make_run(f"seed={seed}", "monitor=val/loss", best=best | {"value": seed * 3e-5}) for seed in (1, 2)
    )
    assert summary(first).outcome == "done, best/val/loss 3.00e-05 in epoch 2"
    assert "best/val/loss +3e-05" in card(second)


def test_the_card_of_a_run_whose_record_could_not_be_closed(make_run: MakeRun):
    record = make_run("seed=1", status="running", killed=True, duration_s=None, samples_per_s=1000.0)
    assert "interrupted" in card(record)


def test_names_of_metrics_are_shown_as_they_are(make_run: MakeRun):
    record = make_run("seed=1", metrics={"test/acc[bold]": 0.5})
    console = Console(file=io.StringIO(), width=100)
    show(record, console)
    print_table(console, [[Column("test/acc[bold]", ["0.5"])]])
    assert console.file.getvalue().count("test/acc[bold]") == 2


# Columns


def test_a_table_takes_the_first_form_that_fits_and_else_gives_up_columns_by_rank():
    ids, short = Column("id", ["r20260101-000000-a81a"]), Column("id", ["a81a"])
    name, note = Column("name", ["wide"], 10), Column("note", ["x" * 30], 20, least=10, enough=10)
    age = Column("age", ["5m"], 30)
    forms = [[ids, name, note, age], [short, name, note, age]]
    assert [width for _, width in fit(forms, 80)] == [21, 4, 30, 3]
    assert [width for _, width in fit(forms, 50)] == [21, 4, 16, 3]  # the note is truncated
    assert [width for _, width in fit(forms, 40)] == [4, 4, 23, 3]
    assert [column.heading for column, _ in fit(forms, 26)] == ["id", "name", "note"]
    assert [column.heading for column, _ in fit(forms, 5)] == ["id"]
    assert fit([[ids, Column("name", [""], 10)]], 80) == [(ids, 21)]  # empty columns are omitted


@pytest.mark.parametrize("width", [1, 7, 20, 41, 80, 500])
def test_every_row_is_one_line_of_at_most_the_width(width: int):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    cells = ["a\nline break\tand \x1b[31ma control sequence", "日本語" * 10, ""]
    print_table(console, [[Column("id", ["r1", "r2", "r3"]), Column("error", cells, 10, least=6)]])
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)


def test_what_a_minority_of_the_runs_monitors_is_shown_in_eighty_columns(make_run: MakeRun):
    words = [(f"optimizer.lr={0.1 / (n + 3)}", f"model.hidden=[{'64,' * n}16]") for n in range(6)]
    runs = [make_run(*some, name=f"a-long-name-{n}") for n, some in enumerate(words)]
    for metric in ("val/f1", "val/rmse"):
        best = {"metric": metric, "value": 0.1234, "epoch": 0, "checkpoint": None}
        runs.append(make_run("seed=9", metrics={metric: 0.2, "test/acc": 0.3}, best=best))
    forms = table(runs, asked_for(None, None, None), [record.values["id"] for record in runs])
    shown = {column.heading for column, _ in fit(forms, 80)}
    assert {"best/val/acc", "best/val/f1", "best/val/rmse"} <= shown


# Which settings are shown


def test_settings_implied_by_a_choice_are_not_shown(make_run: MakeRun):
    adam, sgd = make_run("seed=1"), make_run("seed=1", "optimizer=sgd")
    assert shown_names([adam, sgd]) == ["optimizer"]
    assert shown_names([adam, sgd, make_run("seed=1", "optimizer=sgd", "optimizer.lr=0.2")]) == [
        "optimizer", "optimizer.lr"
    ]  # fmt: skip
    assert shown_names([make_run("optimizer=sgd", "model.hidden=[16]")]) == ["model.hidden", "optimizer"]
    assert shown_names([make_run("data.augment={shift: 1.0}"), make_run()]) == ["data.augment.shift"]


def test_a_metric_is_sorted_best_first_and_a_setting_lowest_first(make_run: MakeRun):
    records = [make_run(f"seed={n}", accuracy=value) for n, value in ((3, 0.7), (1, 0.9), (2, 0.8))]
    none = make_run("seed=9", accuracy=None, status="failed", error="RuntimeError: no")

    def seeds(by: str, reverse: bool = False) -> list[int]:
        return [record.values["seed"] for record in order([*records, none], by, reverse=reverse)]

    assert seeds("val/acc") == seeds("best") == seeds("val/loss") == [1, 2, 3, 9]
    assert seeds("val/acc", reverse=True) == [3, 2, 1, 9]
    assert seeds("seed") == [1, 2, 3, 9]
    assert seeds("duration") == [3, 1, 2, 9]
    assert seeds("started") == [9, 2, 1, 3]


# Progress


def test_a_running_run_shows_its_epoch_and_the_time_remaining(make_run: MakeRun):
    now = datetime.now(UTC)
    progress = {"epochs_completed": 2, "step": 200, "max_epochs": 10, "seconds_per_epoch": 60.0, "at": now.isoformat()}
    running = make_run("seed=1", status="running", progress=progress)
    assert re.fullmatch("epoch 3/10, (8m|7m5.s) left", details(summary(running)))
    limited = make_run("trainer.max_minutes=4", status="running", progress=progress, started=now.isoformat())
    assert re.fullmatch("epoch 3/10, (4m|3m5.s) left", details(summary(limited)))
    assert details(summary(make_run("trainer.max_epochs=7", status="running"))) == "epoch 1/7"
    running.update(resumed=[{"at": (now + timedelta(seconds=1)).isoformat(), "overrides": []}])
    assert details(summary(running)) == "epoch 3/10"  # the speed is that of an earlier session
    assert details(summary(make_run("seed=1", status="interrupted", progress=progress))) == "epoch 3/10"
    assert details(summary(make_run("seed=1", progress=progress))) == ""


@pytest.mark.parametrize("progress", [None, {}, {"epochs_completed": "2"}, [1]])
def test_a_record_with_an_invalid_progress_is_rejected(make_run: MakeRun, progress: object):
    record = make_run("seed=1")
    content = json.dumps({**record.values, "progress": progress}).encode()
    with pytest.raises(ValueError, match="its progress is"):
        Record.parse(record.directory, content)

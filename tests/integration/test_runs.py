"""The run table: ``python -m src.runs``, over records that a training left and over some that none would leave."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tensorboard.compat.proto.summary_pb2 import Summary

from src.dashboard.names import run_names
from src.formatting import figure
from src.loggers.event_files import write_events
from src.paths import ROOT
from src.records.record import Record
from src.records.settings import data_of
from src.records.summary import differing, find_best, summary
from src.records.sweep import Sweep
from src.views.leaderboard import make_leaderboard
from src.views.table import difference
from tests.conftest import SMALL, Command, Finished, MakeRun
from tests.helpers.runs import card, three
from tests.helpers.sweeps import a_grid
from tests.helpers.terminals import lines_in_terminal

__all__ = ["three"]


@pytest.fixture
def runs(here: Command):
    return lambda *words, **env: here("runs", *words, **env)


def ids(done: Finished) -> list[str]:
    return [run["id"] for run in json.loads(done.stdout)]


# ls, best


def test_runs_are_listed_with_what_differs(runs, three: list[Record]):
    done = runs("ls")
    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    headings = ["id", "name", "tags", "status", "details", "best/val/acc", "test/acc", "age", "took"]
    assert lines[0].split("\t")[: len(headings)] == headings
    assert {"lr", "hidden"} <= set(lines[0].split("\t"))
    assert [line.split("\t")[0] for line in lines[1:4]] == [record.values["id"] for record in reversed(three)]
    assert "0.9000" in lines[3]
    assert "wide x" in lines[3]
    assert "batch_size" not in done.stdout  # the same in all


def test_the_table_is_ordered_cut_and_filtered(runs, three: list[Record]):
    by_accuracy = runs("ls", "--sort", "val/acc", "--json")
    assert ids(by_accuracy) == [record.values["id"] for record in three]
    assert ids(runs("ls", "--sort", "val/loss", "--json")) == ids(by_accuracy)
    assert ids(runs("ls", "-n", "1", "--json")) == [three[2].values["id"]]
    assert ids(runs("ls", "val/acc<0.85", "--json")) == [three[1].values["id"]]
    assert "and 2 more: -n 3" in runs("ls", "-n", "1").stderr
    wrong = runs("ls", "--sort", "val/ac")
    assert (wrong.status, "did you mean 'val/acc'" in wrong.stderr) == (2, True)


def test_rows_for_programs_hold_every_metric_and_what_differs(runs, three: list[Record]):
    rows = list(csv.DictReader(io.StringIO(runs("ls", "--csv").stdout)))
    assert [row["id"] for row in rows] == [record.values["id"] for record in reversed(three)]
    assert float(rows[2]["val/acc"]) == 0.9
    assert (rows[0]["optimizer.lr"], rows[1]["optimizer.lr"]) == ("0.001", "0.1")
    assert rows[1]["model.hidden"] == "[16]"
    [first, *_] = json.loads(runs("ls", "--json").stdout)
    assert first["directory"] == str(three[2].directory)
    assert first["config"]["optimizer"]["lr"] == 0.001


def test_a_name_stands_for_one_value_everywhere(runs, make_run: MakeRun):
    """A run that was better in an epoch before its last: val/acc is the last value, best/val/acc the best one."""
    record = make_run("seed=1", metrics={"val/acc": 0.8, "val/loss": 0.2, "test/acc": 0.85})
    other = make_run("seed=2", accuracy=0.95, metrics={"val/acc": 0.7, "val/loss": None})
    expected = {"best/val/acc": 0.9, "val/acc": 0.8, "val/loss": 0.2, "test/acc": 0.85}
    id = record.values["id"]
    assert json.loads(runs("ls", "seed==1", "--json").stdout)[0]["metrics"] == expected
    assert json.loads(runs("show", id, "--json").stdout)["metrics"] == expected
    [row] = csv.DictReader(io.StringIO(runs("ls", "seed==1", "--csv").stdout))
    assert {name: float(row[name]) for name in expected} == expected
    rows = dict(csv.reader(io.StringIO(runs("show", id, "--csv").stdout)))
    assert {name: float(rows[f"metrics.{name}"]) for name in expected} == expected
    text = runs("show", id).stdout
    assert re.search(r" best/val/acc +0\.9000 in epoch 2 *\n", text)
    assert re.search(r" val/acc +0\.8 *\n", text)
    difference = json.loads(runs("diff", id, other.values["id"], "--json").stdout)["metrics"]
    assert (difference["best/val/acc"], difference["val/acc"]) == ([0.9, 0.95], [0.8, 0.7])
    assert ids(runs("ls", "best/val/acc>0.92", "--json")) == ids(runs("ls", "val/acc<0.75", "--json"))
    assert ids(runs("ls", "--sort", "val/acc", "--json"))[0] == id
    assert ids(runs("ls", "--sort", "best/val/acc", "--json"))[0] == other.values["id"]
    for words in (["best"], ["best", "--metric", "best/val/acc"], ["show", "best"]):
        assert other.values["id"] in runs(*words).stdout
    assert ids(runs("best", "--metric", "val/loss", "--json")) == [id]


def test_a_pruned_trial_is_pruned_everywhere(runs, make_run: MakeRun):
    record = make_run("seed=1", sweep="s1", pruned_in_epoch=2)
    make_run("seed=2", sweep="s1")
    for words in (["pruned"], ["status==pruned"], ["not done"]):
        assert ids(runs("ls", *words, "--json")) == [record.values["id"]]
    [plain] = json.loads(runs("ls", "pruned", "--json").stdout)
    [row] = csv.DictReader(io.StringIO(runs("ls", "pruned", "--csv").stdout))
    assert (plain["status"], row["status"]) == ("pruned", "pruned")
    assert "pruned in epoch 2" in runs("show", record.values["id"]).stdout
    assert summary(record).ended == "pruned in epoch 2"


def test_the_best_is_a_finished_run(runs, three: list[Record], make_run: MakeRun):
    make_run("seed=9", accuracy=0.99, status="interrupted")
    assert ids(runs("best", "--json")) == [three[0].values["id"]]
    assert ids(runs("best", "optimizer==sgd", "--metric", "val/loss", "--json")) == [three[1].values["id"]]
    assert find_best(three, "val/loss") is three[0]
    wrong = runs("best", "--metric", "val/auc")
    assert (wrong.status, "did you mean 'val/acc'" in wrong.stderr) == (1, True)


def test_no_run_yet_is_said(runs):
    assert "python -m src.train makes one" in runs("ls").stdout
    assert runs("ls", "--json").stdout == "[]\n"
    for words in (["show", "latest"], ["best"], ["diff"]):
        assert runs(*words).status == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"id": "x"}',
        '{"status": "done"}',
        "\x00\x01",
        "[" * 100_000,
        '{"id": 3, "status": "done"}',
    ],
)
def test_a_foreign_record_is_named_and_the_table_goes_on(runs, make_run: MakeRun, content: str):
    record = make_run("seed=1")
    foreign = record.directory.with_name("r-foreign")
    foreign.mkdir()
    (foreign / "run.json").write_text(content)
    done = runs("ls", "--json")
    assert (done.status, ids(done)) == (0, [record.values["id"]])
    [line] = done.stderr.splitlines()
    assert str(foreign / "run.json") in line


@pytest.mark.parametrize(
    "entry",
    [
        {"tags": None},
        {"status": "finished"},
        {"metrics": {"val/acc": "high"}},
        {"best": {}},
        {"started": "yesterday"},
        {"started": "2026-01-01T00:00:00"},
        {"config": []},
        {"environment": None},
    ],
)
def test_a_record_that_lacks_what_a_run_has_is_named(runs, make_run: MakeRun, entry: dict[str, object]):
    path = make_run("seed=1").directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entry))
    done = runs("ls")
    assert done.status == 0
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr


def test_words_in_a_record_are_shown_and_never_obeyed(runs, make_run: MakeRun):
    record = make_run("seed=1", note="[red]x[/red] [/bold]", name="[link=file:///etc/passwd]y", error="[/]")
    for words in (["ls"], ["show", record.values["id"]], ["best"], ["note", "latest", "[/red]"]):
        done = runs(*words)
        assert done.status == 0, done.stderr
    assert "[red]x[/red] [/bold]" not in runs("ls").stderr
    assert "[/red]" in runs("show", record.values["id"]).stdout


def test_the_table_needs_no_torch(make_run: MakeRun, outputs: Path):
    make_run("seed=1")
    code = (
        "import sys; from src.runs.__main__ import main; main(['ls']); "
        "print([name for name in ('torch', 'lightning', 'torchvision', 'tensorboard', 'optuna', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_twenty_runs_take_twenty_lines_in_a_terminal(make_run: MakeRun, outputs: Path):
    for number in range(16):
        make_run(f"seed={number}", f"optimizer.lr={0.1 / (number + 3)}", f"model.hidden=[{'64,' * number}16]")
    make_run("optimizer=sgd", name="a-very-long-name-of-a-run-that-fills-half-a-line", tags=["one", "two"])
    make_run("seed=1", sweep="s20260101-000000-abcd")
    make_run("seed=1", status="failed", accuracy=None, error=f"RuntimeError: {'x' * 200}")
    progress = {"epochs_completed": 2, "step": 200, "max_epochs": 5, "seconds_per_epoch": 90.0}
    running = make_run("seed=2", status="running", progress={**progress, "at": datetime.now(UTC).isoformat()})
    for width in (80, 120):
        lines = lines_in_terminal(outputs, "ls", width=width)
        assert len(lines) == 21, lines
        assert "epoch 3/5, 4m" in lines[1]
        assert "RuntimeError: xxx" in lines[2]
        assert lines[2].count("…") >= 1
        assert "0.9000" in lines[5]
        for line, end in ((lines[1], running.values["id"]), (lines[3], "s20260101-000000-abcd-017")):
            word = line.split()[0]
            shown = json.loads("\n".join(lines_in_terminal(outputs, "show", word, "--json", width=10_000)))
            assert shown["id"] == end
    assert not any("batch_size" in line for line in lines)


def test_the_output_in_a_pipe_is_for_programs(runs, three: list[Record]):
    done = runs("ls", COLUMNS="40")
    assert all("\t" in line and not line.endswith(" ") for line in done.stdout.splitlines())
    for record in three:
        [line] = [line for line in done.stdout.splitlines() if record.values["id"] in line]
        assert line.split("\t")[0] == record.values["id"]
    assert "…" not in done.stdout


def test_columns_are_chosen_and_keys_are_shown(runs, three: list[Record]):
    done = runs("ls", "--columns", "optimizer.lr,val/loss,duration")
    assert done.stdout.splitlines()[0].split("\t") == ["id", "lr", "val/loss", "duration"]
    assert done.stdout.splitlines()[3].split("\t")[1:] == ["0.001", "0.1000", "10s"]
    [row] = json.loads(runs("ls", "optimizer==sgd", "--columns", "val/loss", "--json").stdout)
    assert (row["id"], row["val/loss"]) == (three[1].values["id"], pytest.approx(0.2))
    wrong = runs("ls", "--columns", "val/los")
    assert (wrong.status, "did you mean 'val/loss'" in wrong.stderr) == (2, True)
    headings = runs("ls", "val/loss<1 and data.batch_size>1", "--sort", "val/acc").stdout.splitlines()[0].split("\t")
    assert {"val/loss", "batch_size", "val/acc"} <= set(headings)
    assert ids(runs("ls", "val/acc>0", "--sort", "val/acc", "--reverse", "--json"))[0] == three[1].values["id"]


def test_messages_about_filtered_runs_are_true(runs, three: list[Record]):
    excluded = runs("best", "failed").stderr
    assert "there is no finished run that matches 'failed'" in excluded
    assert (
        "no finished run that matches 'seed>=0' has a 'val/f1'" in runs("best", "seed>=0", "--metric", "val/f1").stderr
    )
    assert "no run matches" in runs("ls", "seed>100").stdout


# show, diff


def test_any_unique_part_of_an_id_selects_a_run(runs, make_run: MakeRun, outputs: Path):
    records = [make_run(f"seed={n}") for n in range(3)]
    job = make_run("seed=9", sweep="s20260101-000000-abcd")
    for word, record in (("2-0002", records[2]), ("0001-0001", records[1]), ("bcd-003", job)):
        for command in (["show"], ["tag"], ["note"], ["reproduce"]):
            text = ["x"] if command[0] in ("tag", "note") else []
            done = runs(*command, word, *text, "--json")
            assert (done.status, record.values["id"] in done.stdout) == (0, True), done.stderr
    make_run("seed=4", name="2-0002")
    assert json.loads(runs("show", "2-0002", "--json").stdout)["name"] == "2-0002"  # a name takes precedence


def test_a_sweep_stands_for_its_jobs(runs, make_run: MakeRun, outputs: Path):
    sweep = "s20260101-000000-abcd"
    jobs = [make_run(f"optimizer.lr={lr}", sweep=sweep, accuracy=1 - lr) for lr in (0.1, 0.2, 0.3)]
    single = make_run("seed=7")
    values = {"id": sweep, "flags": [], "overrides": [], "jobs": None, "trials": 3, "mode": "max", "search": None}
    (outputs / "sweeps" / sweep / "sweep.json").write_text(
        json.dumps({**values, "command": "", "started": "2026-01-01T00:00:00+00:00"})
    )
    assert json.loads(runs("show", "abcd", "--json").stdout)["sweep"] == sweep
    tagged = json.loads(runs("tag", f"{sweep},{single.values['id']}", "a", "b", "--json").stdout)
    assert [row["id"] for row in tagged] == [record.values["id"] for record in [*jobs, single]]
    assert all(Record.load(record.directory).values["tags"] == ["a", "b"] for record in [*jobs, single])
    assert runs("note", "abcd", "lower is better").status == 0
    assert Record.load(jobs[2].directory).values["note"] == "lower is better"
    found = json.loads(runs("diff", "abcd", single.values["id"], "--json").stdout)
    assert found["runs"] == [record.values["id"] for record in [*jobs, single]]
    assert found["settings"]["optimizer.lr"] == [0.1, 0.2, 0.3, 0.001]
    rows = [line.split("\t") for line in runs("diff", sweep).stdout.splitlines()]
    assert ["optimizer.lr", "0.1", "0.2", "0.3"] in rows
    lines = lines_in_terminal(outputs, "diff", sweep, width=40)
    assert sum(line.startswith("optimizer.lr") for line in lines) == 1 + (len(lines) > len(rows))
    assert "is one" in runs("diff", single.values["id"]).stderr


def test_a_leaderboard_names_the_jobs_without_a_run(runs, outputs: Path):
    sweep = a_grid(outputs / "sweeps" / "s1", [["seed=0"]], [0.5])
    jobs = [[f"seed={number}"] for number in range(14)]
    sweep.values |= {"jobs": jobs, "skipped": {"1": "r20260101-000000-0000"}}
    sweep.save()
    lines = runs("ls", "--sweep", "s1").stdout.splitlines()
    assert "skipped: 001, as r20260101-000000-0000 has its settings" in lines
    assert "not started: 002: seed=2" in lines
    assert "and 3 more, which --json lists" in lines
    plain = json.loads(runs("ls", "--sweep", "s1", "--json").stdout)
    assert plain["not_started"] == [f"{number:03d}: seed={number}" for number in range(2, 14)]
    assert plain["skipped"] == {"1": "r20260101-000000-0000"}


def test_a_run_is_renamed(runs, make_run: MakeRun):
    record = make_run("seed=1", name="old")
    id = record.values["id"]
    assert json.loads(runs("rename", "old", "new", "--json").stdout) == [{"id": id, "name": "new"}]
    assert json.loads(runs("show", "new", "--json").stdout)["directory"] == str(record.directory)
    for wrong in ("latest", "a b", "r20260101-x", "x" * 65):
        assert runs("rename", "new", wrong).status == 2
    assert runs("rename", "new", "").stdout == f"{id}: no name\n"
    assert Record.load(record.directory).values["name"] is None


def test_a_run_is_shown_with_its_curves_and_files(train_here: Command, runs):
    run = train_here("seed=3").runs[0]
    shown = runs("show", run["id"])
    assert shown.status == 0, shown.stderr
    for word in ("done", "seed=3", "val/acc", "▁", "checkpoints/best.ckpt", "threads"):
        assert word in shown.stdout
    plain = json.loads(runs("show", run["id"], "--json").stdout)
    assert plain["metrics"] == {"best/val/acc": run["best"]["value"], **run["metrics"]}
    assert plain["curves"]["val/acc"] == pytest.approx(run["metrics"]["val/acc"])
    assert "checkpoints/last.ckpt" in plain["files"]
    rows = dict(csv.reader(io.StringIO(runs("show", run["id"], "--csv").stdout)))
    assert rows["config.seed"] == "3"


def test_two_runs_are_compared(runs, make_run: MakeRun):
    one = make_run("seed=1", accuracy=0.8)
    other = make_run("seed=1", "optimizer.lr=0.01", accuracy=0.9)
    found = json.loads(runs("diff", "--json").stdout)
    assert found["runs"] == [one.values["id"], other.values["id"]]
    assert found["settings"] == {"optimizer.lr": [0.001, 0.01]}
    assert found["metrics"]["val/acc"] == [0.8, 0.9]
    text = runs("diff").stdout
    assert re.search(r"val/acc\s+0\.8\s+0\.9\s+\+0\.1", text)
    rows = list(csv.reader(io.StringIO(runs("diff", one.values["id"], other.values["id"], "--csv").stdout)))
    assert ["settings", "optimizer.lr", "0.001", "0.01"] in rows
    assert runs("diff", "latest").status == 2
    same = runs("diff", "latest", "latest").stdout
    assert "no difference" in same


def test_code_that_differs_is_shown(runs, make_run: MakeRun):
    one = make_run("seed=1", git={"commit": "a" * 40, "dirty": True, "patch": "code.patch"})
    other = make_run("seed=1", git={"commit": "b" * 40, "dirty": False, "patch": None})
    (one.directory / "code.patch").write_text("+a line [/red]\n")
    text = runs("diff", one.values["id"], other.values["id"]).stdout
    assert "-+a line [/red]" in text
    assert "a" * 40 in text.replace("\n", "")


# tag, note


def test_tags_and_notes_are_kept(runs, make_run: MakeRun):
    record = make_run("seed=1", tags=["a"])
    id = record.values["id"]
    assert runs("tag", id, "b", "c", "a").status == 0
    assert Record.load(record.directory).values["tags"] == ["b", "c", "a"]
    assert json.loads(runs("tag", id, "b", "--remove", "--json").stdout) == [{"id": id, "tags": ["c", "a"]}]
    assert runs("note", id, "it", "was good").status == 0
    assert Record.load(record.directory).values["note"] == "it was good"
    assert ids(runs("ls", "'good' in note and c in tags", "--json")) == [id]
    runs("note", id, "")
    assert Record.load(record.directory).values["note"] is None
    for wrong in ("a b", "", "x" * 65, "[red]"):
        assert runs("tag", id, wrong).status == 2


# rm, restore, gc


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_removed_run_can_be_taken_back(runs, make_run: MakeRun, outputs: Path):
    record = make_run("seed=1")
    (record.directory / "checkpoints").mkdir()
    (record.directory / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    id, before = record.values["id"], tree(record.directory)
    done = runs("rm", id)
    assert (done.status, record.directory.exists()) == (0, False), done.stderr
    assert ids(runs("ls", "--json")) == []
    assert not list(outputs.rglob("events.out.tfevents.*"))
    assert runs("restore", id[:12]).status == 0
    assert tree(record.directory) == before
    assert not list((outputs / "trash").iterdir())
    assert runs("restore", id).status == 1


def test_a_job_goes_back_to_its_sweep(runs, make_run: MakeRun):
    record = make_run("seed=1", sweep="s20260101-000000-abcd")
    runs("rm", record.values["id"])
    runs("restore", record.values["id"])
    assert Record.load(record.directory).values["id"] == record.values["id"]


def test_a_name_of_several_runs_removes_none_and_is_taken_back_one_by_one(runs, make_run: MakeRun):
    records = [make_run(f"seed={n}", name="lr-scan", accuracy=0.1 * n) for n in range(3)]
    refused = runs("rm", "lr-scan")
    assert refused.status == 1
    assert all(record.values["id"] in refused.stderr for record in records)
    assert all(record.directory.exists() for record in records)
    assert runs("show", "lr-scan", "--json").stdout.count(records[2].values["id"])  # others mean the latest
    assert runs("rm", "best", "latest", str(records[0].directory)).status == 0  # the first two are the same
    assert not records[2].directory.exists()
    assert not records[0].directory.exists()
    assert runs("rm", "lr-scan").status == 0  # now it stands for one
    refused = runs("restore", "lr-scan")
    assert refused.status == 1
    assert all(record.values["id"] in refused.stderr for record in records)
    for word, record in (("best", records[2]), (str(records[0].directory), records[0]), ("lr-scan", records[1])):
        assert runs("restore", word).status == 0
        assert Record.load(record.directory).values["id"] == record.values["id"]
    assert "no run of that id, name or directory in the trash" in runs("restore", "lr-scan").stderr


@pytest.mark.parametrize(
    "name", ["latest", "best", "r20260101-000000-ab12", "s20260101-000000-ab12-003", "r20260101-", ".."]
)
def test_a_run_cannot_be_named_as_another_is_found(train_here: Command, name: str):
    done = train_here(f"name={name}")
    assert (done.status, done.outputs.exists()) == (2, False)
    assert done.stderr.startswith(f"error: name={name} ")
    assert "Traceback" not in done.stderr


def test_a_copied_run_is_a_run_of_its_own(runs, make_run: MakeRun, outputs: Path):
    record = make_run("seed=1", events=True)
    id, copy = record.values["id"], record.directory.with_name("backup")
    shutil.copytree(record.directory, copy)
    Record.load(copy).update(note="the copy")
    both, before = [record.directory, copy], {path: tree(path) for path in (record.directory, copy)}
    refused = runs("rm", id)
    assert refused.status == 1
    assert f"{id} (runs/backup)" in refused.stderr
    assert json.loads(runs("show", id, "--json").stdout)["directory"] == str(record.directory)
    assert json.loads(runs("diff", *map(str, both), "--json").stdout)["runs"] == [f"{id} (runs/{p.name})" for p in both]
    assert len({name.run for name in run_names([Record.load(path) for path in both])}) == 2
    made = json.loads(runs("report", *map(str, both), "--json").stdout)
    assert made[0]["runs"] == 2
    (record.directory / "report.html").unlink()
    done = runs("rm", *map(str, both), "--json")
    archives = [Path(row["archive"]) for row in json.loads(done.stdout)]
    assert len(set(archives)) == 2
    assert all(archive.exists() for archive in archives)
    assert not any(path.exists() for path in both)
    for archive in archives:
        assert runs("restore", archive.stem).status == 0
    assert {path: tree(path) for path in both} == before
    # Removed, restored as somebody else's copy and removed again: the first archive is still there.
    runs("rm", str(copy))
    shutil.copytree(record.directory, copy)
    runs("rm", str(copy))
    assert len(list((outputs / "trash").glob("*.tar"))) == 2
    assert "2 runs lay there" in runs("restore", str(copy)).stderr


@pytest.mark.parametrize("link", [".", "sweeps", "sweeps/s20260101-000000-abcd/001"])
def test_links_in_the_way_to_a_run_change_nothing(runs, make_run: MakeRun, outputs: Path, tmp_path: Path, link: str):
    sweep = "s20260101-000000-abcd"
    records = [make_run(f"seed={n}", sweep=sweep) for n in range(2)]
    before = tree(records[1].directory)
    (outputs / link).rename(tmp_path / "far")
    (outputs / link).symlink_to(tmp_path / "far")
    by_link, by_disk = records[1].directory, records[1].directory.resolve()
    assert runs("rm", str(by_link), str(by_disk), records[1].values["id"]).status == 0  # one run, named three times
    assert not by_link.exists()
    assert len(list((outputs / "trash").glob("*.tar"))) == 1
    assert runs("restore", str(by_link)).status == 0
    assert tree(by_link) == before
    if link != f"sweeps/{sweep}/001":  # a job's directory now, and a link no more
        assert runs("rm", str(by_disk)).status == 0
        assert runs("restore", str(by_disk)).status == 0
    assert sorted(path.name for path in (outputs / "sweeps" / sweep).iterdir()) == ["000", "001"]


def test_runs_of_somebody_else_are_measured_and_left_alone(
    train_here: Command, make_run: MakeRun, as_reader: Command, outputs: Path
):
    train_here("name=theirs")
    cut = make_run("seed=9", status="interrupted", accuracy=None)
    measured = as_reader("evaluate", "theirs")
    [run] = [run for run in measured.runs if run["name"] == "theirs"]
    assert f"test/acc   {figure(run['metrics']['test/acc'])}" in measured.stdout
    assert (measured.status, "the result is not in the run's record" in measured.stderr) == (1, True)
    resumed = as_reader("train", f"resume={cut.values['id']}")
    for done, said in (
        (resumed, "work on a copy of your own"),
        (as_reader("train", "resume=latest"), "no unfinished run to resume"),
        (as_reader("runs", "note", "theirs", "good"), "cannot be written (Permission denied)"),
        (as_reader("runs", "rm", "theirs", cut.values["id"]), "cannot be written (Permission denied)"),
        (as_reader("runs", "gc", "seed>=0", "--yes"), "cannot be written (Permission denied)"),
    ):
        assert (done.status, "Traceback" in done.stderr) == (1, False), done.stderr
        assert said in done.stderr
    assert len(json.loads(as_reader("runs", "ls", "--json").stdout)) == 2


def test_what_must_stay_stays(runs, make_run: MakeRun):
    pinned = make_run("seed=1", tags=["pinned"])
    running = make_run("seed=2", status="running")
    free = make_run("seed=3")
    for record, said in ((pinned, "is pinned"), (running, "still running")):
        done = runs("rm", record.values["id"])
        assert (done.status, said in done.stderr, record.directory.exists()) == (1, True, True)
    unknown = runs("rm", free.values["id"], "nothing")
    assert (unknown.status, free.directory.exists()) == (1, True)


def test_gc_says_first_and_keeps_the_pinned_and_the_best(runs, make_run: MakeRun):
    sweep = "s20260101-000000-abcd"
    jobs = [make_run(f"seed={n}", sweep=sweep, accuracy=accuracy) for n, accuracy in enumerate((0.7, 0.9, 0.8))]
    pinned, single = make_run("seed=4", tags=["pinned"]), make_run("seed=5")
    runs("rm", single.values["id"])
    said = runs("gc", "val/acc>0")
    assert said.status == 0
    assert "would be freed" in said.stdout
    assert "is the best of its sweep" in said.stderr
    assert "is pinned" in said.stderr
    assert all(record.directory.exists() for record in [*jobs, pinned])
    freed = json.loads(runs("gc", "val/acc>0", "--yes", "--json").stdout)
    assert {item["what"].split()[0] for item in freed} == {
        jobs[0].values["id"],
        jobs[2].values["id"],
        single.values["id"],
    }
    assert [record.directory.exists() for record in [*jobs, pinned]] == [False, True, False, True]
    assert "nothing to free" in runs("gc").stdout


def test_a_foreign_archive_in_the_trash_writes_nowhere_else(runs, outputs: Path, tmp_path: Path):
    (outputs / "trash").mkdir(parents=True)
    for name, member in (("up", "../outside"), ("abs", str(tmp_path / "outside"))):
        with tarfile.open(outputs / "trash" / f"{name}.tar", "w") as tar:
            info = tarfile.TarInfo(member)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
        done = runs("restore", name)
        assert done.status == 1
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "outside").exists()
    (outputs / "trash" / "text.tar").write_text("no archive")
    assert "not an archive" in runs("restore", "text").stderr


# export, report


def test_every_point_is_exported(train_here: Command, runs, tmp_path: Path):
    from src.views.scalars import curves

    [directory] = train_here("seed=3").directories
    file = tmp_path / "curves.csv"
    done = runs("export", "latest", "-o", str(file))
    assert done.status == 0, done.stderr
    rows = list(csv.DictReader(file.open()))
    expected = curves(directory)
    assert {row["tag"] for row in rows} == set(expected)
    assert len(rows) == sum(map(len, expected.values()))
    accuracy = [float(row["value"]) for row in rows if row["tag"] == "val/acc"]
    assert accuracy == [point.value for point in expected["val/acc"]]
    assert runs("export", "--filter", "seed==3").stdout == file.read_text()
    assert len(json.loads(runs("export", "--json").stdout)) == len(rows)
    assert runs("export", "-o", str(tmp_path / "no" / "such")).status == 1


def test_mean_and_spread_over_seeds_are_exported(runs, make_run: MakeRun):
    made = [make_run(f"seed={seed}") for seed in (1, 2)]
    for record, value in zip(made, (0.25, 0.75), strict=True):
        points = [Summary.Value(tag="val/acc", simple_value=value)]
        write_events(record.directory, "", Summary(value=points))
    [row] = json.loads(runs("export", "--fold", "seed", "--json").stdout)
    std = pytest.approx(statistics.stdev([0.25, 0.75]))
    id = made[1].values["id"]
    assert row == {
        "run": id, "tag": "val/acc", "step": 0, "n": 2, "mean": 0.5, "std": std, "min": 0.25, "max": 0.75
    }  # fmt: skip
    header, line = runs("export", made[0].values["id"], "--fold", "seed,data.fold").stdout.splitlines()
    assert header == "run,tag,step,n,mean,std,min,max"
    assert line == f"{made[0].values['id']},val/acc,0,1,0.25,,0.25,0.25"
    assert runs("export", "--fold", "sede").status == 2


class Page(HTMLParser):
    """What a page would load or run, and what it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert(1)">'"""


def test_a_report_loads_nothing_and_runs_only_its_own_script(train_here: Command, runs, tmp_path: Path):
    train_here("seed=3", "name=one", "callbacks=full")
    done = train_here("seed=4", "name=two", "optimizer=sgd", "callbacks=full")
    directory, run = done.directories[1], done.runs[1]
    Record.load(directory).change(lambda _: {"note": HOSTILE, "name": HOSTILE, "tags": [HOSTILE], "error": HOSTILE})
    results = json.loads((directory / "results.json").read_text())
    (directory / "results.json").write_text(json.dumps(results | {"classes": [HOSTILE] * 10}))
    file = tmp_path / "report.html"
    done = runs("report", "one", run["id"], "-o", str(file))
    assert done.status == 0, done.stderr
    html = file.read_text()
    page = Page(html)
    loaded = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert any(link.startswith("data:image/png") for link in loaded)
    assert all(link.startswith(("data:image/png", "#")) for link in loaded)
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.scripts == [{"type": "application/json", "id": "data"}, {}]
    assert page.text.count(HOSTILE) > 4
    [policy] = [value for name, value in page.attributes if name == "content" and "default-src 'none'" in value]
    script = (ROOT / "src/views/report.js").read_bytes()
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" in policy
    for words in (
        "Confusion matrix",
        "Reliability diagram",
        "Worst mistakes",
        "sgd",
        figure(run["metrics"]["test/acc"]),
    ):
        assert words in html


def test_a_sweeps_report_has_its_leaderboard_and_the_differences_to_the_baseline(train: Command, runs):
    done = train("-m", "seed=1,2", "optimizer.lr=0.01,0.001", "trainer.max_epochs=1")
    sweep = done.runs[0]["sweep"]
    (done.outputs / "baseline.txt").write_text(done.runs[0]["id"])
    said = runs("report", sweep)
    assert said.status == 0, said.stderr
    page = (done.outputs / "sweeps" / sweep / "report.html").read_text()
    best = [run["best"]["value"] for run in done.runs]
    rates = [run["config"]["optimizer"]["lr"] for run in done.runs]
    mean = statistics.fmean(value for value, rate in zip(best, rates, strict=True) if rate == rates[0])
    other = statistics.fmean(value for value, rate in zip(best, rates, strict=True) if rate != rates[0])
    for text in (
        "Leaderboard",
        figure(mean),
        figure(other),
        f"{other - mean:+.4g}",
        *(f"{one - mean:+.4g}" for one in best),
    ):
        assert f">{text}<" in page
    assert runs("report", "nothing").status == 1


def test_a_report_of_runs_without_curves_and_metrics(make_run: MakeRun, runs, outputs: Path):
    record = make_run("seed=1", status="failed", accuracy=None, error="RuntimeError: no memory", duration_s=None)
    other = make_run("seed=2", status="running", accuracy=None, duration_s=None)
    assert runs("report", record.values["id"], other.values["id"]).status == 0
    page = Page((record.directory / "report.html").read_text())
    assert "RuntimeError: no memory" in page.text
    assert not {"#curves", "#parallel"} & {value for name, value in page.attributes if name == "href"}


# The word RUN


def test_a_run_that_is_not_found_gets_candidates(runs, make_run: MakeRun):
    records = [make_run("seed=1", name="baseline"), make_run("seed=2")]
    assert "did you mean 'baseline'" in runs("show", "basline").stderr
    assert records[1].values["id"] in runs("show", "zzz").stderr
    many = runs("show", "r2026")
    assert (many.status, "is part of 2 ids" in many.stderr) == (1, True)


# The card


def test_a_failure_that_would_repeat_itself_is_not_offered_for_resume(train_here: Command, make_run: MakeRun):
    none: dict[str, object] = {"metric": "val/acc", "value": None, "epoch": None, "checkpoint": None}
    cut = make_run(*SMALL, "seed=1", status="interrupted", accuracy=None, best=none)
    make_run(*SMALL, "seed=2", status="failed", error="RuntimeError: no", error_type="RuntimeError", accuracy=None)
    failed = train_here("optimizer=sgd", "optimizer.lr=1e30", "name=diverged")
    assert failed.status == 1
    assert "train.log" in failed.stdout
    assert "resume=" not in failed.stdout
    again = train_here("resume=diverged", "tags=[x]", "trainer.max_epochs=3", small=False)
    assert again.status == 1
    [line] = again.stderr.splitlines()
    assert "would fail again" in line
    assert "start a new run" in line
    assert "lower optimizer.lr" in line
    assert train_here("resume=latest", small=False).status == 0
    assert Record.load(cut.directory).values["status"] == "done"


def test_data_that_were_repaired_are_tried_again(train_here: Command, tmp_path: Path):
    failed = train_here(f"data.dir={tmp_path / 'data'}", "name=no-data")
    assert (failed.status, failed.runs[0]["error_type"]) == (1, "DataError")
    assert "resume=" not in failed.stdout
    (tmp_path / "data").symlink_to(ROOT / "data")
    assert "no-data" not in train_here("resume=latest", small=False).stdout
    assert train_here("resume=no-data", small=False).status == 0


def test_the_card_compares_with_the_run_before(train_here: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    first = train_here("seed=1", "name=first")
    assert "compared with" not in first.stdout
    second = train_here("seed=1", "optimizer.lr=0.01")
    one, other = (run["best"]["value"] for run in second.runs)
    line = next(line for line in second.stdout.splitlines() if "compared with first" in line)
    assert f"best/val/acc {difference(other - one)}; optimizer.lr 0.001 to 0.01" in line
    again = train_here("seed=1", "optimizer.lr=0.01")
    assert "best/val/acc +0; the same settings" in again.stdout


# Runs on different data


def test_metrics_on_different_data_are_not_compared(runs, make_run: MakeRun, outputs: Path):
    digits = make_run("seed=1", accuracy=0.98)
    clothes = make_run("data=fashion_mnist", accuracy=0.88)
    better = make_run("data=fashion_mnist", "seed=2", "data.train_size=512", accuracy=0.89)
    assert "compared with" not in card(clothes)
    assert "best/val/acc +0.01; seed 0 to 2, data.train_size null to 512" in card(better)
    shown = runs("best")
    assert better.values["id"] in shown.stdout
    assert "the best on FashionMNIST" in shown.stdout
    assert "runs on MNIST are not compared" in shown.stdout
    assert json.loads(runs("show", "best", "--json").stdout)["id"] == better.values["id"]
    assert ids(runs("best", "data==MNIST", "--json")) == [digits.values["id"]]
    jobs = [make_run(*words, accuracy=value, sweep="s1") for words, value in (
        (["data=fashion_mnist"], 0.8), (["data=mnist"], 0.9), (["data=fashion_mnist", "seed=2"], 0.85)
    )]  # fmt: skip
    board = make_leaderboard(Sweep(outputs / "sweeps" / "s1", {"id": "s1", "mode": "max"}))
    assert [row.mean for row in board.rows] == [pytest.approx(0.825), 0.9]
    assert board.winner is None
    assert [data_of(job) for job in jobs] == ["FashionMNIST", "MNIST", "FashionMNIST"]


def test_callbacks_and_loggers_are_settings(runs, make_run: MakeRun):
    usual = {"callbacks": "default", "logger": "tensorboard"}
    make_run("seed=1", choices=usual)
    assert "; callbacks.progress Progress to null" in card(make_run("seed=1", "~callbacks.progress", choices=usual))
    ema, both = (
        ["seed=1", "callbacks=[default,ema]"],
        {**usual, "callbacks": None},
    )  # no choice, where several are chosen
    # The callbacks that watch the monitor repeat it.
    watching = [make_run("seed=1", f"monitor={name}") for name in ("val/acc", "val/loss")]
    assert differing(watching) == {"monitor": ["val/acc", "val/loss"], "mode": ["max", "min"]}
    make_run("seed=1", "~callbacks.progress", choices=usual)
    assert "; callbacks default to [default,ema]" in card(make_run(*ema, choices=both))
    assert "; the same settings" in card(make_run(*ema, choices=both))
    assert "; callbacks.ema.decay 0.999 to 0.5" in card(make_run(*ema, "callbacks.ema.decay=0.5", choices=both))
    none = make_run(*ema, "callbacks.ema.decay=0.5", "logger=none", choices={**both, "logger": "none"})
    assert "; logger tensorboard to none" in card(none)
    table = runs("ls", COLUMNS="400").stdout
    assert "[default,ema]" in table
    assert "0.5" in table

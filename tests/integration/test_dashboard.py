"""TensorBoard over the runs: under readable names, telling the truth, and leaving the runs as they are."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from src.dashboard.view import View
from src.loggers.event_files import write_events
from src.loggers.hparams import START_SUFFIX, session_start
from src.paths import ROOT
from src.records.lock import owned
from src.records.summary import summary
from src.views.scalars import curves
from tests.conftest import Command, MakeRun
from tests.helpers.boards import FAILURE, SUCCESS, dashboard, eventually, records, trained, wait_for

__all__ = ["trained"]


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


# -- the view


def status(folder: Path) -> int | None:
    seen = EventAccumulator(str(folder)).Reload()
    try:
        content = seen.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    except KeyError:
        return None
    return plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status


def test_a_view_follows_its_runs_and_goes_without_a_trace(make_run: MakeRun, outputs: Path):
    runs = [make_run(f"seed={seed}", events=True) for seed in range(3)]
    going = make_run("seed=9", status="running")
    make_run("seed=10", status="running", killed=True)
    before = contents(outputs)
    with View(lambda: records(outputs)) as view:
        folders = {path.name: path for path in view.directory.glob("seed*")}
        by_seed = {int(name.split()[1]): folder for name, folder in folders.items()}
        assert sorted(by_seed) == [0, 1, 2, 9, 10]
        assert by_seed[9].name.endswith("(running)")
        assert by_seed[10].name.endswith("(interrupted)")
        assert [status(by_seed[seed]) for seed in (0, 9, 10)] == [1, None, 2]
        assert contents(outputs) == before
        going.update(status="failed")
        make_run("seed=11", events=True)
        (runs[0].directory / "run.json").rename(runs[0].directory / "gone")
        view.refresh()
        left = sorted(path.name for path in view.directory.glob("seed*"))
        assert [name.split()[1] for name in left] == ["1", "10", "11", "2", "9"]
        assert left[-1].endswith("(failed)")
        assert status(view.directory / left[-1]) == 2
        kept = view.directory
    assert not kept.exists()
    assert all(run.directory.exists() for run in runs)


def test_the_mean_of_a_configuration_follows_its_runs(make_run: MakeRun, outputs: Path):
    runs = [make_run(f"seed={seed}", "name=a", events=True) for seed in (1, 2)]
    for seed, record in enumerate(runs, 1):
        write(record.directory, {"val/acc": [(1, 0.0), (2, seed)]}).close()

    def means(view: View) -> dict[str, list[float]]:
        view.refresh()
        view.update_means()
        folders = {path.name: path for path in view.directory.glob("*mean*")}
        return {name: [point.value for point in curves(folder)["val/acc"]] for name, folder in folders.items()}

    with View(lambda: records(outputs)) as view:
        assert means(view) == {"all mean of 2": [0.0, 1.5]}
        added = make_run("seed=3", "name=a", status="running", events=True)
        write(added.directory, {"val/acc": [(1, 3.0)]}).close()
        assert set(means(view)) == {"all mean of 2"}
        added.update(status="done")
        assert means(view) == {"all mean of 3": [1.0, 1.5]}
        (added.directory / "run.json").unlink()
        assert means(view) == {"all mean of 2": [0.0, 1.5]}
        again = make_run("seed=2", "name=a", events=True)
        write(again.directory, {"val/acc": [(1, 0.0), (2, 5)]}).close()
        assert means(view) == {"all mean of 2": [0.0, 3.0]}  # a repetition replaces the run of its seed
        [replaced] = view.directory.glob("*(not counted)")
        assert replaced.name.startswith("seed 2 ")
        for record in runs:
            (record.directory / "run.json").unlink()
        assert means(view) == {}
        [left] = view.directory.glob("seed*")
        assert EventAccumulator(str(left)).Reload().Scalars("replicates/n")[-1].value == 1
    with View(lambda: records(outputs), mean_over_seeds=False) as view:
        assert means(view) == {}
        assert view.charts is None


def test_views_of_killed_dashboards_are_cleared_away(make_run: MakeRun, tmp_path: Path):
    make_run("seed=1", events=True)
    stale = Path(tempfile.mkdtemp(prefix=f"runs-dashboard-{2**22 + 1}-"))  # no process has a number above 2**22
    with tempfile.TemporaryDirectory(prefix=f"runs-dashboard-{os.getpid()}-") as alive:
        for folder in (stale, Path(alive)):
            (folder / "run").symlink_to(tmp_path / "outputs")
        with View(lambda: []):
            assert not stale.exists()
            assert Path(alive).exists()
    assert (tmp_path / "outputs/runs").exists()


def test_one_run_that_goes_on_is_running_again(make_run: MakeRun, outputs: Path):
    record = make_run("seed=1", status="failed", events=True)
    with View(lambda: records(outputs)) as view:
        assert status(next(view.directory.glob("seed*"))) == 2
        record.update(status="running")
        with owned(record.directory):
            view.refresh()
        assert status(next(view.directory.glob("seed*"))) is None


def test_settings_of_runs_of_earlier_versions_are_shown_as_choices(make_run: MakeRun, outputs: Path):
    record = make_run("optimizer=sgd")
    summary = session_start(record)
    data = plugin_data_pb2.HParamsPluginData.FromString(summary.value[0].metadata.plugin_data.content)
    data.session_start_info.hparams["optimizer"].string_value = "torch.optim.SGD"
    summary.value[0].metadata.plugin_data.content = data.SerializeToString()
    write_events(record.directory, START_SUFFIX, summary)
    with View(lambda: records(outputs)) as view:
        [folder] = view.directory.iterdir()
        seen = EventAccumulator(str(folder)).Reload().SummaryMetadata("_hparams_/session_start_info")
    shown = plugin_data_pb2.HParamsPluginData.FromString(seen.plugin_data.content).session_start_info
    assert shown.hparams["optimizer"].string_value == "sgd"


def write(folder: Path, points: dict[str, list[tuple[int, float]]]) -> EventFileWriter:
    writer = EventFileWriter(str(folder))
    for tag, curve in points.items():
        for step, value in curve:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.flush()
    return writer


def test_curves_of_different_batch_sizes_align_over_the_samples(make_run: MakeRun, outputs: Path):
    record = make_run("data.batch_size=32", status="running")
    make_run("data=none")  # without a batch size, and omitted
    # Two epochs of 100 samples: batches of 32, 32, 32 and 4.
    writer = write(
        record.directory,
        {"samples": [(2, 64), (4, 100), (8, 200)], "train/loss": [(1, 0.9), (3, 0.8), (4, 0.7), (8, 0.5)]},
    )
    with View(lambda: records(outputs), samples_axis=True) as view:
        [folder] = view.directory.glob("seed*")

        def steps(tag: str) -> list[int]:
            return [point.step for point in EventAccumulator(str(folder)).Reload().Scalars(tag)]

        assert steps("samples") == [64, 100, 200]
        assert steps("train/loss") == [32, 96, 100, 200]
        for step, value in ((9, 0.4), (12, 0.3)):
            summary = Summary(value=[Summary.Value(tag="train/loss", simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.flush()
        view.refresh()
        assert steps("train/loss")[4:] == [232, 328]  # not known better yet
    writer.close()


def test_to_look_costs_no_import_of_torch():
    code = "import sys, src.dashboard.__main__, src.dashboard.view; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# -- what TensorBoard answers


LOADERS = pytest.mark.parametrize("loader", [[], ["--slow-loader"]])


@LOADERS
def test_a_sweep_with_failed_jobs_is_shown_as_it_is(trained: Path, loader: list[str]):
    before = contents(trained)
    with dashboard(trained, "--sweep", "latest", *loader) as board:
        assert board.count == 4
        jobs = [record for record in records(trained) if record.values["sweep"]]
        assert [record.status for record in jobs] == [*["done"] * 2, *["failed"] * 2]
        configurations = {"lr=0.01": jobs[:2]}
        single = {f"lr=1e+30 seed {seed} 00{seed + 1} (failed)": [jobs[seed + 1]] for seed in (1, 2)}
        means = [f"{name} mean of 2" for name in configurations]

        def check() -> None:
            rows = board.hparams()
            assert board.columns == ["lr"]
            assert board.metrics[:5] == ["best/val/acc", "best/val/acc std", "n", "val/acc", "test/acc"]
            assert set(rows) == {*configurations, *single}
            for name, runs in {**configurations, **single}.items():
                [status] = {session["status"] for session in rows[name]["sessions"]}
                assert status == (SUCCESS if runs[0].status == "done" else FAILURE)
                assert rows[name]["hparams"]["optimizer.lr"] == runs[0].values["config"]["optimizer"]["lr"]
                assert rows[name]["hparams"]["optimizer"] == "adam"
                expected: dict[str, float] = {}
                for metric in summary(runs[0]).metrics:
                    values = [summary(run).metrics[metric] for run in runs]
                    expected |= {metric: statistics.fmean(values), f"{metric} std": statistics.stdev(values), "n": 2}
                assert board.values(rows[name]) == {
                    metric: pytest.approx(value, rel=1e-5, abs=1e-7) for metric, value in expected.items()
                }
            assert sorted(name for name in board.runs() if "mean" in name) == means
            for mean, runs in zip(means, configurations.values(), strict=True):
                found = [[point.value for point in curves(run.directory)["val/acc"]] for run in runs]
                expected_curve = [statistics.fmean(values) for values in zip(*found, strict=True)]
                assert [value for _, value in board.scalars(mean, "val/acc")] == pytest.approx(expected_curve)

        eventually(check)
        shown = board.ask("plugin/timeseries/tags")["scalars"]["runTagInfo"]
        groups = sorted({tag.split("/")[0] for tags in shown.values() for tag in tags})
        assert groups == ["train", "val", "whole run", "within the epochs"]
        [lr] = board.ask("plugin/scalars/scalars", run="lr=0.01 seed 1 000", tag="within the epochs/lr")[-1:]
        assert lr[2] == pytest.approx(0.01)
        port = board.address.rpartition(":")[2]
        sockets = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True).stdout.splitlines()
        assert {line.split()[3] for line in sockets if line.split()[3].endswith(f":{port}")} == {f"127.0.0.1:{port}"}
        board.process.send_signal(signal.SIGTERM)
        assert board.process.wait(timeout=20) == 143
        assert not list(board.temp.glob("runs-dashboard-*"))
    assert contents(trained) == before


@LOADERS
def test_a_resumed_run_is_one_curve(trained: Path, loader: list[str]):
    [record] = [record for record in records(trained) if not record.values["sweep"]]
    assert record.values["resumed"]
    python = EventAccumulator(str(record.directory), size_guidance={"scalars": 0}).Reload()
    epochs = [(point.step, point.value) for point in python.Scalars("val/loss")]
    assert [step for step, _ in epochs] == list(range(8, 161, 8))
    with dashboard(trained, "sweep==null", *loader) as board:
        [name] = wait_for(board.runs)
        shown = wait_for(lambda: found if len(found := board.scalars(name, "val/loss")) == 20 else None)
        assert shown == [(step, pytest.approx(value, rel=1e-6)) for step, value in epochs]

        def check() -> None:
            [row] = board.hparams().values()
            assert row["sessions"][0]["status"] == SUCCESS

        eventually(check)


@LOADERS
def test_event_files_of_one_second_are_read_in_the_order_in_which_they_were_begun(
    make_run: MakeRun, outputs: Path, loader: list[str]
):
    """Of runs whose files tensorboard has named: by their names the first attempt's would be read last."""
    directory = make_run("seed=1").directory
    for count, start, tag, steps in (
        (9, 1, "val/acc", (8, 16)),
        (10, 9, "val/acc", (16, 24)),
        (11, None, "test/acc", (24,)),
    ):
        writer = EventFileWriter(str(directory), filename_suffix=".new")
        if start:
            log = SessionLog(status=SessionLog.START)
            writer.add_event(Event(wall_time=time.time(), step=start, file_version="brain.Event:2"))
            writer.add_event(Event(wall_time=time.time(), step=start, session_log=log))
        for step in steps:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=count)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.close()
        [path] = directory.glob("*.new")
        path.rename(directory / f"events.out.tfevents.1795622371.host.1.{count}")
    expected = {"val/acc": [(8, 9), (16, 10), (24, 10)], "test/acc": [(24, 11)]}
    found = curves(directory)
    assert {tag: [(point.step, point.value) for point in points] for tag, points in found.items()} == expected
    with dashboard(outputs, *loader) as board:
        [name] = wait_for(board.runs)

        def check() -> None:
            assert {tag: board.scalars(name, tag) for tag in expected} == expected

        eventually(check)


def test_seeds_of_one_configuration_share_a_row(make_run: MakeRun, outputs: Path):
    for seed, name, value in ((1, "a", 0.25), (2, "further", 0.75)):
        record = make_run(f"seed={seed}", f"name={name}", events=True, accuracy=value)
        write(record.directory, {"val/acc": [(1, 0.0), (2, value)]}).close()
    make_run("seed=3", "name=c", accuracy=0.0, status="failed")  # it has a row of its own
    other = make_run("seed=1", "name=b", "optimizer.lr=0.1", events=True)
    write(other.directory, {"val/acc": [(1, 0.1)]}).close()
    with dashboard(outputs) as board:

        def check() -> None:
            rows = board.hparams()
            assert {name.split()[0]: len(row["sessions"]) for name, row in rows.items()} == {"a": 2, "b": 1, "c": 1}
            std = pytest.approx(statistics.stdev([0.25, 0.75]))
            values = board.values(rows["a"])
            assert (values["val/acc"], values["val/acc std"], values["n"]) == (0.5, std, 2)
            tags = ("val/acc", "replicates/lower/val/acc", "replicates/upper/val/acc")
            shown = [board.scalars("a mean of 2", tag) for tag in tags]
            assert [step for step, _ in shown[0]] == [1, 2]
            middle, lower, upper = (curve[-1][1] for curve in shown)
            assert (middle, middle - lower, upper - middle) == (0.5, std, std)

        eventually(check)


@LOADERS
def test_two_hundred_runs_are_all_shown(make_run: MakeRun, outputs: Path, loader: list[str]):
    for seed in range(200):
        record = make_run(f"optimizer.lr={(seed % 4 + 1) / 100}", accuracy=seed / 200, events=True)
        record.update(config={**record.values["config"], "seed": seed}, seed=seed)
        write(record.directory, {"val/acc": [(1, seed / 200)]}).close()
    with dashboard(outputs, "--no-mean-over-seeds", *loader) as board:
        assert board.count == 200
        wait_for(lambda: len(board.runs()) == 200)

        def check() -> None:
            shown = [
                (row["hparams"]["seed"], value["value"])
                for row in board.hparams().values()
                for value in row["sessions"][0]["metricValues"]
                if value["name"]["tag"] == "val/acc"
            ]
            assert sorted(shown) == [(seed, pytest.approx(seed / 200, rel=1e-6)) for seed in range(200)]

        eventually(check)


def test_a_new_run_appears_by_itself(make_run: MakeRun, outputs: Path):
    make_run("seed=1", events=True)
    with dashboard(outputs) as board:
        wait_for(lambda: len(board.runs()) == 1)
        make_run("optimizer.lr=0.1", events=True)
        wait_for(lambda: len(board.runs()) == 2)


# -- what is typed wrongly


def test_mistakes_are_said_in_a_line(command: Command, make_run: MakeRun):
    def said(*words: str) -> tuple[int, str]:
        done = command("dashboard", "--no-browser", *words)
        assert "Traceback" not in done.stderr
        return done.status, done.stderr.strip()

    assert said() == (1, "error: there is no run yet; python -m src.train makes one.")
    make_run("seed=1", events=True)
    assert said("seed>5") == (1, "error: no run matches that.")
    own = make_run("seed=9")
    own.update(config={**own.values["config"], "data": None})
    unknown = (
        "error: --x samples: of none of the runs the batch size is known: leave it out for curves by optimizer step."
    )
    assert said("seed==9", "--x", "samples") == (1, unknown)
    assert said("seed>>5")[0] == 2
    assert said("--sweep", "nothing")[0] == 1
    assert said("--port", "0")[0] == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, text = said("--port", str(taken.getsockname()[1]))
    assert code == 1
    assert "is in use" in text or "already" in text

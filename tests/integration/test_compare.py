"""``python -m src.runs compare``, ``ls --fold`` and ``baseline``."""

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from src.errors import ConfigError, RunNotFound, UserError
from src.records.find import all_runs
from src.records.record import Record
from src.runs.__main__ import main
from src.runs.compare import compare
from src.runs.further import commands_for
from tests.conftest import SMALL, Command, MakeRun
from tests.helpers.runs import card


@pytest.fixture(autouse=True)
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    monkeypatch.setenv("COLUMNS", "120")


A, B = (0.80, 0.82, 0.81), (0.83, 0.84, 0.85)


@pytest.fixture
def two(make_run: MakeRun) -> tuple[list[Record], list[Record]]:
    """Three seeds of each of two configurations."""
    return (
        [make_run(f"seed={seed}", "name=narrow", accuracy=value) for seed, value in enumerate(A)],
        [make_run("optimizer.lr=0.01", f"seed={seed}", tags=["fast"], accuracy=value) for seed, value in enumerate(B)],
    )


def test_matching_seeds_are_paired(two: tuple[list[Record], list[Record]]):
    found = compare(("narrow", "fast"), all_runs())
    expected = stats.ttest_rel(B, A).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (found.metric, found.method) == ("best/val/acc", "paired t, 3 pairs with the same seed")
    assert found.difference == pytest.approx(0.03)
    assert found.verdict == ("B is better" if expected.low > 0 else "undecided")


def test_seeds_that_do_not_match_take_the_interval_of_welch(make_run: MakeRun):
    for seed, value in enumerate(A):
        make_run(f"seed={seed}", accuracy=value)
    for seed, value in enumerate(B):
        make_run("optimizer.lr=0.01", f"seed={seed + 2}", accuracy=value)
    found = compare(("optimizer.lr==0.001", "optimizer.lr==0.01"), all_runs(), confidence=0.8)
    expected = stats.ttest_ind(B, A, equal_var=False).confidence_interval(0.8)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert str(found.method).startswith("Welch's t")


@pytest.mark.parametrize("better", ["A", "B"])
def test_the_verdict_knows_the_direction_of_the_metric(make_run: MakeRun, better: str):
    for seed in range(4):
        make_run(f"seed={seed}", accuracy=0.8 + seed / 1000 + 0.1 * (better == "A"))
        make_run("optimizer.lr=0.01", f"seed={seed}", accuracy=0.8501 - seed / 1000)
    for metric in (None, "test/acc", "val/loss"):
        found = compare(("optimizer.lr==0.001", "latest"), all_runs(), metric)
        assert found.verdict == f"{better} is better"
        assert found.further is not None
        assert found.further.commands == []


def test_the_same_runs_are_meant_by_run_name_tag_filter_and_sweep(make_run: MakeRun):
    jobs = [make_run(f"seed={seed}", "name=n", sweep="s20260101-000000-aaaa", tags=["t"]) for seed in range(2)]
    other = make_run("model.dropout=0.5")
    make_run("seed=9", status="failed", name="n")
    words = [
        jobs[0].values["id"],
        str(jobs[1].directory),
        "n",
        "t",
        "seed<9 and model.dropout==0",
        "s20260101-000000-aaaa",
    ]
    for word in words:
        side, single = compare((word, other.values["id"]), all_runs()).sides
        assert [record.values["id"] for record in side.runs] == [record.values["id"] for record in jobs]
        assert single.runs[0].values["id"] == other.values["id"]
    [(_, reason)] = compare((words[0], other.values["id"]), all_runs()).sides[0].left_out
    assert reason == "failed"


def test_what_cannot_be_compared_is_reported(two: tuple[list[Record], list[Record]], make_run: MakeRun):
    run = two[0][0].values["id"]
    make_run("data=fashion_mnist", "name=elsewhere")
    make_run("model.dropout=0.5", "name=broken", status="failed")
    problems: list[tuple[str, type[UserError], str]] = [
        ("seed==0 and best<0.89", UserError, "selects 2 configurations, which differ in optimizer.lr"),
        ("elsewhere", UserError, "metrics on different data"),
        ("narrow", UserError, "are the same configuration"),
        ("broken", UserError, "no run of broken can be compared: .* failed"),
        ("nothing", RunNotFound, "there is no run of that id"),
        ("seed==77", RunNotFound, "no run matches"),
        ("seed=", ConfigError, "cannot be read"),
    ]
    for word, kind, text in problems:
        with pytest.raises(kind, match=text):
            compare((run, word), all_runs())
    with pytest.raises(ConfigError, match="did you mean 'val/acc'"):
        compare((run, "fast"), all_runs(), "val/ac")


def test_too_few_runs_are_reported_with_the_commands_that_add_some(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
):
    make_run("seed=5", accuracy=0.8)
    for seed in (5, 6):
        make_run("optimizer.lr=0.01", f"seed={seed}")
    found = compare(("optimizer.lr==0.001", "optimizer.lr==0.01"), all_runs())
    assert (found.interval, found.verdict) == (None, "undecided")
    assert found.further is not None
    assert found.further.commands == [
        "python -m src.train -m seed=6,7",
        "python -m src.train -m optimizer.lr=0.01 seed=7",
    ]
    assert main(["compare", "optimizer.lr==0.001", "optimizer.lr==0.01"]) == 0
    assert "an interval takes at least two runs of each, and A has 1" in capsys.readouterr().out


def test_folds_are_paired_and_their_variance_is_corrected(make_run: MakeRun):
    for fold in range(3):
        words = ["data.folds=3", f"data.fold={fold}", "seed=1"]
        make_run(*words, accuracy=A[fold])
        make_run(*words, "optimizer.lr=0.01", accuracy=B[fold] - 0.02)
    found = compare(("optimizer.lr==0.001", "optimizer.lr==0.01"), all_runs())
    differences = [after - 0.02 - before for before, after in zip(A, B, strict=True)]
    error = stats.tstd(differences) * (1 / 3 + 1 / 2) ** 0.5
    expected = stats.t.interval(0.95, 2, loc=sum(differences) / 3, scale=error)
    assert found.interval == pytest.approx(expected)
    assert "corrected for folds" in str(found.method)
    assert any("not independent" in note for note in found.notes)


def test_a_margin_tests_equivalence(two: tuple[list[Record], list[Record]]):
    assert compare(("narrow", "fast"), all_runs(), margin=0.2).verdict == "equal within 0.2"
    assert compare(("narrow", "fast"), all_runs(), margin=0.01).verdict != "equal within 0.01"


def test_results_are_printed_for_readers_and_programs(
    two: tuple[list[Record], list[Record]], capsys: pytest.CaptureFixture[str]
):
    def printed(*words: str) -> str:
        assert main(["compare", "narrow", "fast", *words]) == 0
        return capsys.readouterr().out

    text = printed()
    for part in (
        "best/val/acc (higher is better)",
        "0.810 ± 0.010",
        "0.840 ± 0.010",
        "B - A: +0.03, 95 % confidence interval",
    ):
        assert part in text
    plain: dict[str, Any] = json.loads(printed("--json"))
    assert (plain["A"]["values"], plain["B"]["n"]) == (list(A), 3)
    [row] = csv.DictReader(io.StringIO(printed("--csv")))
    assert float(row["low"]) == pytest.approx(plain["interval"][0])


# -- further seeds


def test_the_commands_train_the_seeds_that_are_lacking(command: Command, outputs: Path, make_run: MakeRun):
    words = [*SMALL, "trainer.max_epochs=1"]
    make_run(*words, "seed=1", accuracy=0.80)
    for seed in (1, 2, 3):
        make_run(*words, "optimizer.lr=0.01", f"seed={seed}", accuracy=0.9 + seed / 1000)
    filters = ("optimizer.lr==0.001", "optimizer.lr==0.01")
    found = compare(filters, all_runs())
    assert found.further is not None
    [line] = found.further.commands
    program, *rest = shlex.split(line)[2:]
    done = command(program.removeprefix("src."), *rest)
    assert done.status == 0, done.stderr
    found = compare(filters, all_runs())
    assert [side.seeds for side in found.sides] == [[1, 2, 3], [1, 2, 3]]
    assert found.interval is not None


def test_commands_contain_the_overrides_of_the_run(make_run: MakeRun):
    words = ["optimizer=sgd", "model.hidden=[8,8]", "name=x"]
    record = make_run(*words, "seed=3", "data.folds=3", "data.fold=1")
    assert commands_for(record, [4]) == [
        "python -m src.train -m optimizer=sgd 'model.hidden=[8,8]' name=x data.folds=3 seed=4"
    ]
    [line] = commands_for(record, [4, 5, 6, 7], [0, 1, 2])
    assert line.endswith(" 'seed=range(4,8)' data.fold=0,1,2")
    record.values["config"]["optimizer"]["lr"] = 7.0
    assert commands_for(record, [4])[0] == "# not the recorded configuration any more, which differs in optimizer.lr"
    record.values["overrides"] = ["model.nothing=1"]
    assert commands_for(record, [4])[0].startswith("# not valid any more: ")


def test_a_trial_of_a_search_is_trained_again_without_the_search(make_run: MakeRun):
    words = ["sweep=mlp", "optimizer=sgd", "optimizer.lr=0.1", "schedule=constant", "model.hidden=[64]"]
    words += ["model.activation=relu", "model.dropout=0.1"]
    record = make_run(*words)
    assert commands_for(record, [1, 2]) == [
        shlex.join(["python", "-m", "src.train", *words, f"seed={n}"]) for n in (1, 2)
    ]


# -- ls --fold


def test_a_row_for_each_configuration(
    two: tuple[list[Record], list[Record]], make_run: MakeRun, capsys: pytest.CaptureFixture[str]
):
    make_run("optimizer.lr=0.01", "seed=7", status="failed", accuracy=None)

    def printed(*words: str) -> str:
        assert main(["ls", "--fold", *words]) == 0
        return capsys.readouterr().out

    text = printed("seed")
    for part in ("0.810 ± 0.010 (3)", "0.840 ± 0.010 (3)", "done 3, failed 1", "0.01"):
        assert part in text
    rows = json.loads(printed("seed,data.fold", "--sort", "best/val/acc", "--json"))
    assert [(row["n"], row["optimizer.lr"]) for row in rows] == [(3, "0.01"), (3, "0.001")]
    assert rows[1]["best/val/acc"] == pytest.approx(0.81)
    assert rows[1]["best/val/acc std"] == pytest.approx(0.01)
    assert rows[1]["runs"] == [record.values["id"] for record in two[0]]
    assert len(list(csv.DictReader(io.StringIO(printed("optimizer.lr", "--csv"))))) == 4
    assert main(["ls", "--fold", "sede"]) == 2


# -- baseline


def test_differences_to_the_baseline_are_shown(
    two: tuple[list[Record], list[Record]], make_run: MakeRun, capsys: pytest.CaptureFixture[str]
):
    a, b = two

    def printed(*words: str) -> str:
        assert main(list(words)) == 0
        return capsys.readouterr().out

    assert "vs baseline" not in printed("ls")
    assert "there is no baseline" in printed("baseline")
    assert "0.8100, the mean of 3 runs" in printed("baseline", a[0].values["id"])
    assert "+0.04" in printed("ls")
    rows = {row["id"]: row["vs_baseline"] for row in json.loads(printed("ls", "--json"))}
    assert rows[b[2].values["id"]] == pytest.approx(0.04)
    assert json.loads(printed("ls", "--fold", "seed", "--json"))[0]["vs_baseline"] == pytest.approx(0.03)
    assert "best/val/acc +0.04 (narrow, 0.8100, the mean of 3 runs)" in " ".join(card(b[2]).split())
    report = printed("report", b[2].values["id"]).strip()
    assert ">+0.04</td>" in Path(report).read_text()
    assert json.loads(printed("baseline", "--json"))[0]["n"] == 3
    assert "there is no baseline" in printed("baseline", "none")
    assert "vs baseline" not in printed("ls")


def test_the_best_configuration_of_a_sweep_can_be_the_baseline(
    make_run: MakeRun, outputs: Path, capsys: pytest.CaptureFixture[str]
):
    id = "s20260101-000000-aaaa"
    jobs = [
        make_run(f"optimizer.lr={lr}", f"seed={seed}", sweep=id, accuracy=lr) for lr in (0.1, 0.2) for seed in (1, 2)
    ]
    overrides = [job.values["overrides"] for job in jobs]
    values = {"id": id, "flags": ["-m"], "overrides": [], "jobs": overrides, "trials": 4, "mode": "max", "search": None}
    (jobs[0].directory.parent / "sweep.json").write_text(json.dumps({**values, "started": jobs[0].values["started"]}))
    assert main(["baseline", id]) == 0
    assert jobs[2].values["id"] in capsys.readouterr().out
    assert main(["ls", "--sweep", id, "--json"]) == 0
    board = json.loads(capsys.readouterr().out)
    assert [row["vs_baseline"] for row in board["rows"]] == pytest.approx([0, -0.1])


def test_a_baseline_that_is_gone_is_a_warning(
    two: tuple[list[Record], list[Record]], outputs: Path, capsys: pytest.CaptureFixture[str]
):
    (outputs / "baseline.txt").write_text("r20200101-000000-0000\n")
    for words in (["ls"], ["report", two[0][0].values["id"]]):
        assert main(words) == 0
        assert "the baseline r20200101-000000-0000 has been removed" in capsys.readouterr().err
    assert main(["baseline"]) == 0
    assert "has been removed" in capsys.readouterr().out

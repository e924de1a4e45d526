"""``python -m src.runs ls --fold`` and ``baseline``."""

import csv
import io
import json
from pathlib import Path

import pytest

from src.records.record import Record
from src.runs.__main__ import main
from tests.conftest import MakeRun
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
    assert "<td>+0.04</td>" in Path(report).read_text()
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

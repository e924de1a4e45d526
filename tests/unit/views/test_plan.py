"""What is told of a sweep before it runs."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from src.config.command_line import OWN_FLAGS, parse
from src.config.compose import Plan, make_plan
from src.errors import ConfigError
from src.records.record import Record
from src.records.sweep import Sweep
from src.views.plan import jobs_to_skip, planned_jobs, print_plan


def plan_of(*words: str) -> Plan:
    return make_plan(parse(["-m", *words]))


def ran(folder: Path, *words: str, seconds: float, status: str = "done") -> Record:
    """A run that has ended."""
    [config] = make_plan(parse(list(words))).configs
    folder.mkdir(parents=True)
    record = Record.start(
        folder, sweep=None, config=config, overrides=list(words), command="", git=None, environment={}
    )
    record.update(status=status, duration_s=seconds)
    return record


def test_a_job_has_run_if_a_finished_run_had_all_its_settings(tmp_path: Path):
    runs = [
        ran(tmp_path / "r1", "seed=1", "name=other", "tags=[x]", seconds=3),
        ran(tmp_path / "r2", "seed=2", seconds=5, status="failed"),
        ran(tmp_path / "r3", "seed=3", "optimizer.lr=0.1", seconds=4),
    ]
    jobs = planned_jobs(plan_of("seed=1,2,3,1").configs, runs)
    assert [job.run and job.run.values["id"] for job in jobs] == ["r1", None, None, "r1"]
    assert [job.same_as for job in jobs] == [None, None, None, 0]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["seed=1"], 3.0),  # the median of all
        (["seed=1", "trainer.max_epochs=20"], 6.0),
        (["seed=1", "data=points"], None),
    ],
)
def test_the_time_is_that_of_the_runs_which_have_most_in_common(
    tmp_path: Path, words: list[str], seconds: float | None
):
    runs = [ran(tmp_path / f"r{n}", f"seed={n + 5}", seconds=n) for n in (2, 3, 4)]
    runs += [ran(tmp_path / "slow", "seed=9", "optimizer=sgd", "schedule=cosine", seconds=50)]
    runs += [ran(tmp_path / f"q{n}", f"seed={n + 5}", seconds=3) for n in (2, 4)]
    [job] = planned_jobs(plan_of(*words).configs, runs)
    assert job.seconds == seconds


def shown(plan: Plan, at_once: int = 2) -> str:
    text = io.StringIO()
    print_plan(plan, at_once, Console(file=text, width=100, highlight=False))
    return text.getvalue()


def test_a_plan_lists_jobs_duplicates_and_what_has_run(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    ran(outputs / "runs" / "r1", "seed=2", seconds=60)
    text = shown(plan_of("seed=1,2,1", "optimizer=adam,sgd"))
    rows = [line.split() for line in text.splitlines()]
    assert rows[1] == ["job", "note", "seed", "optimizer", "lr"]
    assert "002  has run as r1" in text
    assert "004  the same as 000" in text
    assert "With the settings of another: 2." in text
    assert "Run already: 1; --skip-done leaves them out." in text
    assert "They take about 3m, 2 at once" in text
    assert jobs_to_skip(plan_of("seed=1,2,1", "optimizer=adam,sgd")) == {2: "r1"}


def test_a_plan_of_a_search_names_its_space(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    plan = plan_of("hydra/sweeper=optuna", "optimizer.lr=interval(0.1,1)", "hydra.sweeper.n_trials=7")
    text = shown(plan)
    assert text.splitlines() == [
        "a search of 7 trials over optimizer.lr",
        "No finished run of this machine tells how long they take.",
    ]
    limited = plan_of("hydra/sweeper=optuna", "seed=1,2", "hydra.sweeper.n_trials=null", "hydra.sweeper.minutes=5")
    assert shown(limited).splitlines() == [
        "a search of as many trials as fit into its time over seed",
        "It ends after 5 min, when the running trials have ended their epoch.",
    ]
    with pytest.raises(ConfigError, match="a search proposes its jobs"):
        jobs_to_skip(plan)
    with pytest.raises(ConfigError, match="goes with hydra/launcher=processes"):
        jobs_to_skip(plan_of("hydra/launcher=joblib", "seed=1,2"))


@pytest.mark.parametrize("flag", OWN_FLAGS)
def test_flags_of_sweeps_are_not_passed_to_hydra_and_need_a_sweep(flag: str):
    line = parse(["seed=1", flag, "-m"])
    assert (line.flags, line.own_flags, line.overrides) == (["--multirun"], (flag,), ["seed=1"])
    assert line.asks == ("plan" if flag == "--plan" else None)
    with pytest.raises(ConfigError, match=f"{flag} goes with -m"):
        parse(["seed=1", flag])


def test_a_sweep_without_some_of_its_jobs_is_finished_without_them(tmp_path: Path):
    settings: dict[str, Any] = {"trials": 1, "mode": "max", "search": None, "git": None}
    sweep = Sweep.start(
        tmp_path,
        ["-m"],
        ["seed=1,2"],
        jobs=[["seed=1"], ["seed=2"]],
        skipped={0: "r1"},
        own_flags=["--skip-done"],
        **settings,
    )
    assert sweep.missing() == ["001: seed=2"]
    assert sweep.values["command"] == "python -m src.train -m --skip-done seed=1,2"
    assert Sweep.load(tmp_path).skipped == {0: "r1"}

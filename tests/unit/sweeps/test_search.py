"""Searches, their storage, and sweeps that are resumed."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.config.command_line import parse
from src.config.compose import make_plan
from src.config.space import Dimension, split_space
from src.errors import ConfigError, UserError
from src.paths import ROOT
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.resume import changed_sweep, check_unchanged
from src.sweeps.run import check_search
from src.sweeps.storage import check_storage
from src.sweeps.study import Launch, Search, open_study, search_in_batches, trial_of
from src.views.leaderboard import make_leaderboard
from tests.helpers.sweeps import a_sweep, answer

# -- the search itself, with jobs that only write their record


_, SPACE = split_space({"optimizer.lr": "tag(log,interval(1e-4,1e-1))", "model.width": "range(8,33,8)"}, ["seed=1,2"])


def search(
    sweep: Sweep, space: list[Dimension], fixed: list[str], launch: Launch, at_once: int = 1, max_epochs: int = 3
) -> None:
    search_in_batches(Search(sweep, space, fixed, max_epochs), launch, at_once)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_every_sampler_proposes_what_is_in_the_space(tmp_path: Path, sampler: str):
    sweep = a_sweep(tmp_path / "s1", 6, sampler=sampler)
    search(sweep, SPACE, ["x=1"], answer(sweep.directory, lambda n: {"value": n / 10}), at_once=2)
    assert len(sweep.records()) == 6
    for record in sweep.records():
        said = dict(word.split("=") for word in record.values["overrides"])
        assert said["x"] == "1"
        assert 1e-4 <= float(said["optimizer.lr"]) <= 1e-1
        assert said["model.width"] in ("8", "16", "24", "32")
        assert said["seed"] in ("1", "2")
    assert open_study(sweep).best_value == 0.5


EPOCHS = 4


_, POINTS = split_space({}, ["optimizer.lr=1e-2,1e-3", "model.width=32,8", "seed=1,2,3"])


class Cut(Exception):
    """The search is killed."""


def learn(sweep: Sweep, cut: tuple[int, str] | None = None) -> Callable[[Sequence[Sequence[str]], int], None]:
    """Jobs that report to their trial after each epoch and end when it is pruned; one of them may be killed."""

    def work(number: int) -> dict[str, Any]:
        words = dict(word.split("=") for word in Record.load(sweep.directory / f"{number:03d}").values["overrides"])
        rate = abs(math.log10(float(words["optimizer.lr"])) + 2)
        final = 1 / (1 + rate + 1 / float(words["model.width"]))
        trial = trial_of(open_study(sweep, EPOCHS), number)
        assert trial is not None
        for epoch in range(EPOCHS):
            value = final * (1 - 0.7 ** (epoch + 1))
            if epoch not in trial.study.trials[trial.number].intermediate_values:
                trial.report(value, epoch)
            if cut == (number, "mid-training") and epoch == 1:
                Record.load(sweep.directory / f"{number:03d}").update(status="interrupted")
                raise Cut
            if trial.should_prune() and epoch + 1 < EPOCHS:
                return {"value": value, "pruned_in_epoch": epoch + 1}
        return {"value": final}

    run = answer(sweep.directory, work)

    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        if cut == (first, "before it began"):
            raise Cut
        run(jobs, first)

    return launch


def trials_of(sweep: Sweep) -> list[tuple[list[str], int | None, float]]:
    """What each job was set to, in which epoch it was pruned, and what it reached."""
    runs = [record.values for record in sweep.records()]
    return [(run["overrides"], run.get("pruned_in_epoch"), run["best"]["value"]) for run in runs]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
def test_a_search_is_reproducible_and_continues_as_if_it_had_not_been_cut_off(tmp_path: Path, sampler: str):
    def run(name: str, *cuts: tuple[int, str], **settings: Any) -> list[Any]:
        sweep = a_sweep(tmp_path / name, 9, sampler=sampler, pruner="hyperband", **settings)
        space = POINTS if sampler == "grid" else SPACE
        for cut in cuts:
            with pytest.raises(Cut):
                search(sweep, space, [], learn(sweep, cut), max_epochs=EPOCHS)
        search(sweep, space, [], learn(sweep), max_epochs=EPOCHS)
        return trials_of(sweep)

    whole = run("whole")
    assert len({tuple(words) for words, _, _ in whole}) == 9
    assert any(pruned for _, pruned, _ in whole)
    assert run("cut", (4, "before it began"), (6, "mid-training"), storage=f"sqlite:///{tmp_path}/shared.db") == whole


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_begins_with_the_given_settings_and_samples_the_rest(tmp_path: Path, sampler: str):
    start = [{"optimizer.lr": 1e-2, "seed": 2, "model.width": 16}, {"optimizer.lr": 1e-3}, {"name": "fixed"}]
    sweep = a_sweep(tmp_path / "s1", 5, sampler=sampler, start=start)
    search(sweep, SPACE, ["name=x"], answer(sweep.directory, lambda n: {"value": n / 10}), at_once=2)
    words = [record.values["overrides"] for record in sweep.records()]
    assert words[0] == ["name=x", "optimizer.lr=0.01", "model.width=16", "seed=2"]
    assert words[1][1] == "optimizer.lr=0.001"
    assert len({tuple(one) for one in words}) == 5


def test_a_search_starts_no_trial_after_its_time_and_goes_on_with_more(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", None, minutes=1.0, n_trials=None)
    assert not sweep.is_finished

    def work(number: int) -> dict[str, Any]:
        if number in (2, 4):
            sweep.set_deadline(0)
        return {"value": 0.5}

    def resumed(*words: str) -> int:
        changed_sweep(sweep, list(words))
        search(sweep, SPACE, [], answer(sweep.directory, work))
        assert sweep.is_finished
        return len(Sweep.load(sweep.directory).records())

    search(sweep, SPACE, [], answer(sweep.directory, work))
    assert (len(sweep.records()), sweep.values["trials"]) == (3, 3)
    assert sweep.is_finished
    assert resumed() == 3
    assert resumed("hydra.sweeper.minutes=2") == 5
    assert resumed("hydra.sweeper.n_trials=6") == 6
    for word, kind in (("minutes=-2", "a number"), ("minutes=null", "a number"), ("n_trials=0", "an integer")):
        with pytest.raises(ConfigError, match=f"^hydra.sweeper.{word}: must be {kind} above 0"):
            changed_sweep(sweep, [f"hydra.sweeper.{word}"])
    changed_sweep(sweep, ["hydra.sweeper.minutes=1e300"])  # which the check of the settings refuses
    assert Sweep.load(sweep.directory).values["search"]["minutes"] == 2


def test_halving_prunes_at_shares_of_the_epochs_of_a_trial(tmp_path: Path):
    sweep, pruned = a_sweep(tmp_path / "s1", 4, pruner="halving"), []
    for epochs, value in ((8, 0.5), (16, 0.6), (8, 0.4), (16, 0.55)):
        trial = open_study(sweep, epochs).ask()
        for epoch in range(epochs):
            trial.report(value, epoch)
            if trial.should_prune():
                pruned.append((value, epoch))
                break
        trial.study.tell(trial, value)
    assert pruned == [(0.4, 1), (0.55, 4)]  # after an eighth of 8 epochs, and a quarter of 16


def test_trials_proposed_at_the_same_time_differ(tmp_path: Path):
    found = []
    for name in ("a", "b"):
        sweep = a_sweep(tmp_path / name, 8)
        search(sweep, SPACE, [], answer(sweep.directory, lambda n: {"value": n / 10}), at_once=4)
        found.append([record.values["overrides"] for record in sweep.records()])
    assert found[0] == found[1]
    assert len(set(map(tuple, found[0]))) == 8


def test_failed_and_interrupted_trials_are_taken_up_again_once(tmp_path: Path):
    sweep, asked = a_sweep(tmp_path / "s1", 4), []

    def first(number: int) -> dict[str, Any]:
        asked.append(number)
        return [{"value": 0.1}, {"status": "failed"}, {"status": "interrupted"}, {"value": None}][number]

    search(sweep, SPACE, [], answer(sweep.directory, first))
    assert asked == [0, 1, 2, 3]
    asked.clear()

    def second(number: int) -> dict[str, Any]:
        asked.append(number)
        assert trial_of(open_study(sweep), number)  # a pruner can judge it
        return {"value": 0.5 + number}

    sweep.values["trials"] = 5
    search(sweep, SPACE, [], answer(sweep.directory, second))
    assert asked == [1, 2, 3, 4]
    assert open_study(sweep).best_value == 4.5
    asked.clear()
    search(sweep, SPACE, [], answer(sweep.directory, second))
    assert asked == []


BOTH = {"val/acc": "max", "latency_ms": "min"}


def of_both(number: int, sweep: Sweep) -> dict[str, Any]:
    """Results of a job with two objectives that conflict."""
    words = dict(word.split("=") for word in Record.load(sweep.directory / f"{number:03d}").values["overrides"])
    rate, width = abs(math.log10(float(words["optimizer.lr"])) + 2), float(words["model.width"])
    return {"value": 1 - 1 / width - rate / 10, "metrics": {"latency_ms": width + rate}}


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "nsga3", "grid"])
def test_a_search_for_two_objectives_tells_both_and_its_front_is_that_of_the_leaderboard(tmp_path: Path, sampler: str):
    def run(name: str, *trials: int) -> Sweep:
        sweep = a_sweep(tmp_path / name, 0, BOTH, sampler=sampler, startup_trials=2)
        for sweep.values["trials"] in trials:  # resumed
            space = (
                split_space({}, ["optimizer.lr=1e-2,1e-3,1e-4", "model.width=32,8,16"])[1]
                if sampler == "grid"
                else SPACE
            )
            search(sweep, space, [], answer(sweep.directory, lambda n: of_both(n, sweep)))
        return sweep

    sweep = run("s1", 6)
    study = open_study(sweep)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    board = make_leaderboard(sweep)
    points = {tuple(trial.values) for trial in study.best_trials}  # a sampler may repeat a trial with another seed
    assert {(row.mean, row.others["latency_ms"][0]) for row in board.front} == points
    assert [row.front for row in board.rows] == sorted((row.front for row in board.rows), reverse=True)
    assert board.winner is None
    assert trials_of(run("s2", 4, 6)) == trials_of(sweep)


def test_an_objective_that_is_not_logged_ends_the_search_after_its_first_trial(tmp_path: Path, capsys):
    sweep = a_sweep(tmp_path / "s1", 5, BOTH)
    logged = {"metrics": {"val/loss": 0.3}}
    search(sweep, SPACE, [], answer(sweep.directory, lambda n: {"value": 0.5, **logged}))
    assert len(sweep.records()) == 1
    assert capsys.readouterr().err == (
        "error: s1-000 did not log latency_ms, of hydra.sweeper.objectives, and the search ends: name metrics that it logged "
        "(best/val/acc, val/loss).\n"
    )


def test_a_trial_whose_objective_is_not_finite_has_failed(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", 2, BOTH)
    search(
        sweep, SPACE, [], answer(sweep.directory, lambda n: {"value": 0.5, "metrics": {"latency_ms": [1.0, None][n]}})
    )
    assert [trial.state.name for trial in open_study(sweep).trials] == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://u:secret@host/x", "there is no database 'redis'"),
        ("postgresql://u:se/cret@host:port/x", "postgresql://... cannot be read"),
        (
            "mysql+pymysql://u:secret@host/x",
            "mysql+pymysql://u:***@host/x needs pymysql, which is not installed: pip install 'pymysql'",
        ),
        ("sqlite://", "in memory"),
        ("sqlite:///study.db", f"write sqlite:///{ROOT}/study.db"),
        ("sqlite:////nowhere/study.db", "there is no directory /nowhere"),
        (f"sqlite:///{ROOT}/src", "is a directory"),
        (f"sqlite:///{ROOT}/README.md", "file is not a database"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_showing_its_password(address: str, said: str):
    with pytest.raises(ConfigError) as refused:
        check_storage(address)
    assert said in str(refused.value)
    assert "cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_a_sweep_resumes_only_with_the_jobs_it_began_with(tmp_path: Path, sweeper: str):
    line = parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(ada*)", "hydra/launcher=joblib"])
    plan = make_plan(line)
    sweep = Sweep.start(
        tmp_path, line.flags, line.overrides, jobs=plan.jobs, trials=2, mode="max", search=plan.search, git=None
    )
    check_unchanged(sweep, make_plan(parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(ada*)"])))
    if plan.search:
        search(sweep, plan.space, [], answer(tmp_path, lambda n: {"value": 0.5}), at_once=2)
    check_unchanged(sweep, plan)
    with pytest.raises(UserError, match="files in conf/ have changed"):
        check_unchanged(sweep, make_plan(parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(adam*)"])))


def test_a_search_needs_a_metric():
    boring = "lightning.pytorch.demos.boring_classes.Boring"
    words = ["-m", "task=custom", f"task._target_={boring}Model", "data=custom", f"data._target_={boring}DataModule"]
    words += ["hydra/sweeper=optuna", "seed=choice(1,2)", "hydra.sweeper.n_trials=2"]
    with pytest.raises(ConfigError, match=r"^monitor=null: a search needs a metric"):
        check_search(make_plan(parse(words)))

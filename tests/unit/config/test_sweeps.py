"""Sweeps that are refused."""

from pathlib import Path

import pytest

from src.config.command_line import parse
from src.config.compose import make_plan
from src.errors import ConfigError
from tests.conftest import MakeRun
from tests.helpers.sweeps import a_sweep

TWO = ["hydra/sweeper=optuna", "optimizer.lr=interval(1e-3,1e-1)"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=interval(1e-3,1e-1)"], "add hydra/sweeper=optuna"),
        (["hydra/sweeper=optuna"], "no space"),
        (["hydra/sweeper=optuna", "optimizer.lr=interval(1,1)"], "from a smaller number to a larger"),
        (["hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(0,1))"], "begins above 0"),
        (["hydra/sweeper=optuna", "optimizer.lr=interval(0.1,-1.0)"], "from a smaller"),
        (["hydra/sweeper=optuna", "model.dropout=interval(0.1,2.0)"], "model.dropout=2.0 must be below 1"),
        (["hydra/sweeper=optuna", "optimizer.lrr=interval(0.1,1)"], "did you mean"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=tp", "seed=1,2"], "must be 'tpe'"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=0", "seed=1,2"], "must be at least 1"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=null", "seed=1,2"], "set hydra.sweeper.minutes=10"),
        (["sweep=auto", "hydra.sweeper.minutes=0"], "hydra.sweeper.minutes=0.0 must be above 0"),
        (["sweep=auto", "hydra.sweeper.start=[7]"], "hydra.sweeper.start[0]=7 must be a group of settings"),
        (["sweep=auto", "hydra.sweeper.start=[{optimizer.lrr:0.1}]"], "is not searched; did you mean 'optimizer.lr'?"),
        (["sweep=auto", "hydra.sweeper.start=[{optimizer:sgd}]"], "which is adamw, momentum, muon. Change one"),
        (
            ["sweep=auto", "optimizer.lr=interval(0.01,0.1)"],
            "optimizer.lr=0.002 is outside the space, which is from 0.01",
        ),
        (
            ["hydra/sweeper=optuna", "seed=range(1,9,2)", "hydra.sweeper.start=[{seed:4}]"],
            "seed=4 is outside the space, which is from 1 to 7 in steps of 2",
        ),
        (
            ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "seed=1,2", "hydra.sweeper.start=[{seed:1}]"],
            "the points of a grid are fixed",
        ),
        (["sweep=auto", "hydra.sweeper.start_from=nothing"], "hydra.sweeper.start_from=nothing: "),
        (["hydra/sweeper=optuna", "hydra.sweeper.storage=study.db", "seed=1,2"], "hydra.sweeper.storage"),
        (["hydra/sweeper=optun", "seed=1,2"], "did you mean 'optuna'"),
        (["hydra/launcher=jobli", "seed=1,2"], "did you mean 'joblib'"),
        (["hydra/launcher=joblib", "hydra.launcher.backend=threading", "seed=1,2"], "may be set n_jobs"),
        (["hydra/launcher=slurm", "hydra.launcher.setup=[evil]", "seed=1,2"], "hydra.launcher.setup"),
        (["hydra.launcher._target_=os.system", "seed=1,2"], "is not allowed"),
        (
            ["hydra/launcher=ray", "hydra.launcher.ray.init.address=auto", "seed=1,2"],
            "choose hydra/launcher=ray_cluster",
        ),
        (["hydra/sweeper=optuna", "hydra.sweeper._target_=os.system", "seed=1,2"], "is not allowed"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "optimizer.lr=interval(0.1,1)"], "a grid needs"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc]"], "at least two different metrics"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,val/acc]"], "at least two different metrics"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,energy]"], "write energy:min or energy:max"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,energy:low]"], "must be min or max, not 'low'"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc:min,val/loss]"], "would take the worst val/acc for the best"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,test/loss]"], "would select settings by the test set"),
        ([*TWO, "hydra.sweeper.objectives=[train/acc,val/acc]", "data.val_size=0"], "holds none out"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,val/f1]"], "the task logs val/loss, val/acc"),
        ([*TWO, "hydra.sweeper.objectives=[val/acc,latency_ms]"], "is logged by callbacks=latency: add it"),
        (
            [*TWO, "callbacks=latency", "hydra.sweeper.objectives=[val/acc,latency_ms_64]"],
            "name that, or set the batch size",
        ),
        (
            [*TWO, "hydra.sweeper.objectives=[val/acc,val/loss]", "hydra.sweeper.pruner=median"],
            "set hydra.sweeper.pruner=none",
        ),
        (
            [*TWO, "hydra.sweeper.objectives=[val/acc,val/loss]", "hydra.sweeper.sampler=cmaes"],
            "is for a single objective",
        ),
        ([*TWO, "hydra.sweeper.objectives=val/acc"], "must be a list"),
        ([*TWO, "hydra.sweeper.objectives=[best/val/acc,val/loss]"], "is the best value of a metric: name val/acc"),
        (
            [*TWO, "hydra.sweeper.minutes=1,2"],
            "hydra.sweeper.minutes=1,2: a search has one value of hydra.sweeper.minutes",
        ),
        ([*TWO, "hydra.sweeper.minutes=1e300"], "hydra.sweeper.minutes=1e+300 must be at most 525600"),
        (["seed=shuffle(1,2)"], "leave shuffle out"),
    ],
)
def test_a_wrong_sweep_is_refused_in_a_sentence(words: list[str], said: str):
    with pytest.raises(ConfigError) as refused:
        make_plan(parse(["-m", *words]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


CSV = ["data=csv", "data.path=a.csv", "data.target=b"]
OF_MLPS = {"model.hidden", "model.activation", "model.norm", "model.dropout"}
AUGMENTS = {f"data.augment.{name}" for name in ("shift", "rotation", "scale", "shear")}


@pytest.mark.parametrize(
    ("words", "searched"),
    [
        (["model=example_cnn"], {"data.batch_size"} | AUGMENTS),
        ([*CSV, "model.hidden=[8]"], {"data.batch_size"} | OF_MLPS - {"model.hidden"}),
        (["data=image_folder", "data.dir=a"], {"data.batch_size", "data.transforms"} | OF_MLPS),
    ],
)
def test_a_search_varies_those_optional_settings_that_the_configuration_has(words: list[str], searched: set[str]):
    plan = make_plan(parse(["-m", "sweep=auto", "optimizer=adamw", "schedule=cosine", *words]))
    assert {d.key for d in plan.space if d.key.partition(".")[0] in ("data", "model")} == searched


def test_a_search_sets_an_optional_setting_that_has_one_value():
    words = [*CSV, "data.kind=regression", "task=regression", "optimizer=adamw", "schedule=cosine"]
    assert "task.standardize_targets=True" in make_plan(parse(["-m", "sweep=auto", *words])).fixed


def test_a_search_starts_from_the_best_runs_of_a_sweep_as_far_as_they_lie_in_its_space(
    make_run: MakeRun, outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    make_run("optimizer=adam", "model.hidden=[8]", sweep="s1", accuracy=0.8)
    make_run("optimizer=adamw", "optimizer.lr=0.5", "model.hidden=[16]", sweep="s1", accuracy=0.9)
    make_run("optimizer=sgd", sweep="s1", accuracy=0.99, status="failed")
    a_sweep(outputs / "sweeps" / "s1", 3)
    words = ["optimizer=adam,adamw", "optimizer.lr=interval(0.1,1)", "model.hidden=choice([8],[16])"]
    plan = make_plan(parse(["-m", "hydra/sweeper=optuna", "hydra.sweeper.start_from=s1", *words]))
    assert plan.search is not None
    assert plan.search["start"] == [
        {"optimizer": "adamw", "optimizer.lr": 0.5, "model.hidden": [16]},
        {"optimizer": "adam", "model.hidden": [8]},  # its learning rate of 0.001 is outside
    ]


def test_the_mode_of_an_objective_follows_from_its_name_the_task_or_what_is_written():
    words = [
        *TWO,
        "callbacks=latency",
        "hydra.sweeper.objectives=[latency_ms_256,val/acc,val/f1,flops,joules:min,iq:max]",
    ]
    plan = make_plan(parse(["-m", *words, "task.metrics=[acc,f1]"]))
    assert plan.objectives == {
        "latency_ms_256": "min", "val/acc": "max", "val/f1": "max", "flops": "min", "joules": "min", "iq": "max"
    }  # fmt: skip
    assert make_plan(parse(["-m", *TWO])).objectives == {}

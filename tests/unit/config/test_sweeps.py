"""Sweeps that are refused."""

import pytest

from src.config.command_line import parse
from src.config.compose import make_plan
from src.errors import ConfigError

# -- the search itself, with jobs that only write their record


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
        (["seed=shuffle(1,2)"], "leave shuffle out"),
    ],
)
def test_a_wrong_sweep_is_refused_in_a_sentence(words: list[str], said: str):
    with pytest.raises(ConfigError) as refused:
        make_plan(parse(["-m", *words]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)

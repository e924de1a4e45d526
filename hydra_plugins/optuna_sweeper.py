"""``hydra/sweeper=optuna``: Hydra's side of a search. The search itself is in ``src.sweeps``.

Hydra imports every module of this package whenever it starts, so nothing large is imported here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class OptunaSweeperConf:
    """Settings of a search.

    Attributes:
        objectives: metrics to optimize together, as in [val/acc,latency_ms], or with a mode, energy:min; by default monitor alone.
        sampler: tpe, random, grid, cmaes, nsga2 or nsga3.
        pruner: none, median, hyperband or halving.
        n_trials: number of trials; null for as many as fit into the time.
        minutes: time after which no trial starts, and running ones end with their epoch; null for no limit.
        startup_trials: number of random trials before the sampler and the pruner use results; size of nsga2's and nsga3's generations.
        seed: seed of the sampler; null for a different search each time.
        storage: URL of an Optuna storage; null for a file in the sweep's directory.
        params: search space, key to value in Hydra's sweep syntax; those of the command line are added.
        optional: like ``params``, for settings that only some data sets, networks or tasks have.
        start: settings of the first trials, each a mapping within the space; missing ones are sampled.
        start_from: a run or a sweep, whose best runs are the next trials, as far as they lie in the space.
    """

    _target_: str = "hydra_plugins.optuna_sweeper.OptunaSweeper"
    objectives: Any = field(default_factory=list)  # the check of the settings names what is wrong with another type
    sampler: str = "tpe"
    pruner: str = "none"
    n_trials: int | None = 20
    minutes: float | None = None
    startup_trials: int = 10
    seed: int | None = 0
    storage: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    optional: dict[str, Any] = field(default_factory=dict)
    start: list[Any] = field(default_factory=list)
    start_from: str | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="this project")


class OptunaSweeper(Sweeper):
    """Sweeper that asks Optuna for trials and runs them with the launcher.

    Args:
        params: search space.
        settings: the other settings of ``OptunaSweeperConf``, which are already in the sweep's record.
    """

    def __init__(self, params: DictConfig, **settings: Any) -> None:
        self.params = params
        self.launcher: Launcher
        self.config: DictConfig
        self.context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the launcher."""
        self.config, self.context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the search of a command line. If its storage fails, the search ends and can be resumed."""
        from src.config.space import applicable, split_space
        from src.launching.share import jobs_at_once
        from src.records.sweep import Sweep
        from src.sweeps.storage import report_lost_storage
        from src.sweeps.study import Search, search_in_batches

        directory = Path(self.config.hydra.sweep.dir)
        sweep = Sweep.load(directory)
        params = OmegaConf.to_container(self.params, resolve=True)
        assert isinstance(params, dict)
        params |= applicable(sweep.values["search"].get("optional"), self.config)
        fixed, space = split_space(
            {str(key): value for key, value in params.items()}, arguments, self.context.config_loader
        )
        with report_lost_storage():
            search_in_batches(
                Search(sweep, space, fixed, self.config.trainer.max_epochs),
                launch=lambda jobs, first: self.launcher.launch(jobs, initial_job_idx=first),
                at_once=jobs_at_once(),
            )

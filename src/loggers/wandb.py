"""Weights & Biases: offline unless set otherwise, one W&B run for all sessions of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from src.errors import ConfigError, UserError
from src.loggers.csv import OnOptimizerStep, Status
from src.records.record import Record

# Exit codes, from which W&B derives the status finished or failed; 255 is W&B's own code for Ctrl-C.
_EXIT_CODES: dict[Status, int] = {"done": 0, "failed": 1, "interrupted": 255}
_SETTINGS: dict[str, Any] = {
    "console": "off",  # it is in train.log, and capturing it breaks progress bars
    "silent": True,
    # Command line, git remote, host and installed packages are in the record, without their secrets.
    "disable_git": True,
    "disable_code": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,  # seconds of points that a killed process may lose; 15 by default
}


class WandB(OnOptimizerStep, WandbLogger):
    """Logs to a W&B run whose id is that of the run; its files are in ``wandb/`` in the run's directory.

    W&B's counter ``_step`` is also the optimizer step, except for points that were logged with another step.

    Args:
        directory: the run's directory.
        resumed_at: the optimizer step at which a run is resumed.
        id: the W&B run of the earlier sessions.
        project: W&B project.
        entity: user or team that owns the project.
        offline: write files that ``wandb sync`` uploads, and use no network.
    """

    def __init__(
        self,
        *,
        directory: str,
        resumed_at: int | None = None,
        id: str | None = None,
        project: Annotated[str, "W&B project"] = "tracking",
        entity: Annotated[str | None, "user or team that owns the project; null: the default of the API key"] = None,
        offline: Annotated[bool, "write files for wandb sync, and use no network"] = True,
    ) -> None:
        import wandb

        super().__init__(
            save_dir=directory,
            id=id,
            project=project,
            entity=entity,
            mode="offline" if offline else "online",
            settings=wandb.Settings(**_SETTINGS),
        )
        del self._wandb_init["anonymous"]  # deprecated: wandb warns that it has no effect
        self._has_open_row = False

    @classmethod
    def check(cls, settings: Mapping[str, Any], prefix: str) -> None:
        """Check that there is an API key for uploads, for which wandb would prompt on the terminal.

        Args:
            settings: the configured settings.
            prefix: dotted key of the settings.

        Raises:
            ConfigError: there is no API key.
        """
        if settings.get("offline", True):
            return
        import wandb
        from wandb.sdk.lib import wbauth

        host = wandb.setup().settings.base_url
        if wbauth.authenticate_session(host=host, source="logger=wandb", prompt=False, update_session=False) is None:
            raise ConfigError(
                f"{prefix}.offline=false: there is no API key for {host}: run wandb login, or set the environment variable "
                "WANDB_API_KEY, or leave it at true and upload later by wandb sync."
            )

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Start or resume the W&B run, with the run's name, tags and configuration, and its sweep as group.

        Raises:
            UserError: the server cannot be reached or rejects the run.
        """
        import wandb

        super().open_session(config, trainer)
        run = Record.load(Path(str(self.save_dir))).values
        id = self._wandb_init["id"] or run["id"]
        name, group = run["name"] or run["id"], run["sweep"]
        self._wandb_init |= {"id": id, "name": name, "group": group, "tags": run["tags"]}
        try:
            self.experiment.config.update(dict(config), allow_val_change=True)
        except wandb.errors.Error as error:
            raise UserError(f"logger.wandb: {' '.join(str(error).split())}") from error

    def log_scalars(self, scalars: Mapping[str, Any], step: int | None) -> None:
        """Log at the optimizer step; W&B drops points whose step is lower than that of the previous point."""
        run = self.experiment
        at = None if step is None else max(step, run.step)
        run.log({**scalars, "trainer/global_step": step}, step=at)
        self._has_open_row = True

    @rank_zero_only
    def before_checkpoint(self) -> None:
        """Commit the last step, which W&B buffers until the next step: a resumed run logs only later ones."""
        if self._has_open_row:
            self.experiment.log({}, commit=True)
            self._has_open_row = False

    @rank_zero_only
    def close(self, status: Status) -> None:
        """Finish the W&B run, so that the next training in this process starts a new one."""
        self.experiment.summary["status"] = status
        self.experiment.finish(exit_code=_EXIT_CODES[status])
        self._experiment = None

"""MLflow: by default a SQLite file in the outputs directory, one MLflow run for all sessions of a run."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from src.errors import UserError
from src.loggers.csv import OnOptimizerStep, Status
from src.paths import outputs_dir
from src.records.lock import alone
from src.records.record import Record
from src.records.settings import as_word, flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger(__name__)

_STATUSES: dict[Status, str] = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
# MLflow's limits on the number of values per request, and on the length of a parameter's name and value.
_METRICS, _PARAMS, _LENGTH = 1000, 100, 6000
_NOT_IN_A_NAME = re.compile(r"[^\w/. :-]", re.ASCII)
_SECONDS = 1.0  # minimum interval between writes, each of which is a transaction


class MLflow(OnOptimizerStep, MLFlowLogger):
    """Logs to an MLflow run.

    MLflow can neither remove values nor change parameters. A resumed run therefore logs only points that earlier sessions have
    not logged, and a setting that differs in a later session is logged as a tag of that name.

    Args:
        directory: the run's directory.
        resumed_at: the optimizer step at which a run is resumed.
        run_id: the MLflow run of the earlier sessions.
        experiment_name: MLflow experiment, which is created if necessary.
        tracking_uri: server or database; null: ``mlflow.db`` in the outputs directory, with artifacts in ``mlartifacts/``.
    """

    def __init__(
        self,
        *,
        directory: str,
        resumed_at: int | None = None,
        run_id: str | None = None,
        experiment_name: Annotated[str, "MLflow experiment"] = "tracking",
        tracking_uri: Annotated[str | None, "server or database; null: mlflow.db in the outputs directory"] = None,
    ) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
        import mlflow  # noqa: F401  # sets the level of its log

        for name in ("mlflow", "alembic"):  # they log every migration of a new database
            logging.getLogger(name).setLevel(logging.WARNING)
        outputs = outputs_dir()
        with alone(
            outputs / ".mlflow.lock"
        ):  # it creates the tables, which jobs that start together must not do at once
            super().__init__(
                experiment_name=experiment_name,
                tracking_uri=tracking_uri or f"sqlite:///{outputs / 'mlflow.db'}",
                artifact_location=None if tracking_uri else (outputs / "mlartifacts").as_uri(),
                run_id=run_id,
            )
        self._directory = Path(directory)
        self._logged: set[tuple[str, int]] = set()  # name and step of the points of earlier sessions
        self._points: list[Metric] = []  # pending points
        self._written = 0.0

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Start or resume the MLflow run, with the run's name, tags and configuration.

        Raises:
            UserError: the server or database cannot be used.
        """
        from mlflow import MlflowClient, MlflowException

        super().open_session(config, trainer)
        client = MlflowClient(self._tracking_uri)
        try:
            if self._run_id is not None and not self._reopen(client, self._run_id):
                log.warning("the MLflow run %s is not in %s any more: another begins", self._run_id, self._tracking_uri)
                self._run_id = None
            if self._run_id is None:
                self._run_id = self._begin(client)
            self._log_config(config)
        except MlflowException as error:
            raise UserError(f"logger.mlflow: {' '.join(str(error).split())}") from error

    def _begin(self, client: "MlflowClient") -> str:
        from mlflow import MlflowException

        experiment = client.get_experiment_by_name(self._experiment_name)
        try:
            id = (
                experiment.experiment_id
                if experiment
                else client.create_experiment(self._experiment_name, self._artifact_location)
            )
        except MlflowException:  # another process may have created it meanwhile
            if (experiment := client.get_experiment_by_name(self._experiment_name)) is None:
                raise
            id = experiment.experiment_id
        run = Record.load(self._directory).values
        tags = {"id": run["id"], "tags": " ".join(run["tags"]), "directory": str(self._directory)}
        tags |= {"sweep": run["sweep"]} if run["sweep"] else {}
        tags |= {"mlflow.source.git.commit": commit} if (commit := (run["git"] or {}).get("commit")) else {}
        begun = client.create_run(id, tags=tags, run_name=run["name"] or run["id"])
        return str(begun.info.run_id)

    def _reopen(self, client: "MlflowClient", run_id: str) -> bool:
        """Read the points that a run has logged, and set its status to running; False if the run does not exist."""
        from mlflow import MlflowException

        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if run.info.lifecycle_stage == "deleted":
            return False
        self._logged = {(name, p.step) for name in run.data.metrics for p in client.get_metric_history(run_id, name)}
        client.update_run(run_id, status="RUNNING")
        return True

    def _log_config(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        client = self.experiment
        settings = {name: as_word(value)[:_LENGTH] for name, value in flatten(config).items()}
        known = client.get_run(self._run_id).data.params
        params = [Param(_named(name), value) for name, value in settings.items() if _named(name) not in known]
        for start in range(0, len(params), _PARAMS):
            client.log_batch(self._run_id, params=params[start : start + _PARAMS])
        changed = [
            RunTag(key, value) for name, value in settings.items() if known.get(key := _named(name), value) != value
        ]
        client.log_batch(self._run_id, tags=changed)

    def log_scalars(self, scalars: Mapping[str, Any], step: int | None) -> None:
        """Queue points, which are written at most once a second."""
        from mlflow.entities import Metric

        now, at = int(time.time() * 1000), step or 0
        points = [Metric(_named(name), float(value), now, at) for name, value in scalars.items()]
        self._points += [point for point in points if (point.key, point.step) not in self._logged]
        self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write queued points, at most once a second: Lightning calls this after every point."""
        if time.monotonic() - self._written > _SECONDS:
            self._write()

    def _write(self) -> None:
        for start in range(0, len(self._points), _METRICS):
            self.experiment.log_batch(self._run_id, metrics=self._points[start : start + _METRICS])
        self._points, self._written = [], time.monotonic()

    @rank_zero_only
    def before_checkpoint(self) -> None:
        """Write all queued points: a run resumed from the checkpoint logs only later ones."""
        self._write()

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write all queued points, without ending the run: Lightning calls this after the training and again after the test."""
        self._write()

    @rank_zero_only
    def close(self, status: Status) -> None:
        """End the MLflow run."""
        self._write()
        self.experiment.set_terminated(self._run_id, _STATUSES[status])


def _named(name: str) -> str:
    """Replace characters that MLflow does not allow in names."""
    return _NOT_IN_A_NAME.sub("_", name)

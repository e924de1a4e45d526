"""State accumulated within an epoch, which Lightning omits from checkpoints and logs only after the epoch's checkpoint."""

import logging
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities import move_data_to_device
from torchmetrics import Metric, MetricCollection

log = logging.getLogger(__name__)
KEY = "accumulated"


class AccumulatedMetrics(pl.Callback):
    """Saves the states of the module's metrics, and the means of ``self.log(..., on_epoch=True)`` within an epoch.

    A resumed run therefore logs the same values as an uninterrupted one. Each rank saves its own state, restored before the
    first batch, after ``on_train_start``, where modules reset metrics updated by a sanity check. The state of a metric consists
    of the variables declared by ``add_state``.
    """

    def __init__(self) -> None:
        self._metrics = dict[str, dict[str, Any]]()
        self._logged = dict[str, dict[str, Any]]()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the states of every rank."""
        progress: Any = trainer.fit_loop.epoch_progress.current
        results = trainer.fit_loop.epoch_loop._results
        within_epoch = progress.processed < progress.started
        for module in pl_module.modules():
            if isinstance(module, MetricCollection):
                module.items()  # updates the states of metrics that share those of others
        # Metrics of an epoch that has ended are reset next.
        ended = () if within_epoch else {id(one.value) for one in results.values() if not one.is_tensor}
        metrics = {
            name: _state(metric)
            for name, metric in _metrics(pl_module)
            if metric.update_called and id(metric) not in ended
        }
        logged = {name: _state(one) for name, one in results.items() if one.is_tensor and not one.has_reset}
        mine = move_data_to_device({"metrics": metrics, "logged": logged if within_epoch else {}}, "cpu")
        states = [mine]
        if trainer.world_size > 1:
            states = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(states, mine)
        checkpoint[KEY] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this rank's states until the first batch."""
        states = checkpoint.get(KEY, [])
        if len(states) == trainer.world_size:
            self._metrics, self._logged = (dict(states[trainer.global_rank][key]) for key in ("metrics", "logged"))
        elif any(state["logged"] or state["metrics"] for state in states):
            log.warning(
                "accumulated metrics are reset: the checkpoint has those of %d processes, and there are %d now",
                len(states),
                trainer.world_size,
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Restore the metrics."""
        if self._metrics:
            for name, metric in _metrics(pl_module):
                if state := self._metrics.get(name):
                    _restore(metric, state)
            self._metrics = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Merge values logged earlier in the epoch into those logged for the first time in this session."""
        results = trainer.fit_loop.epoch_loop._results
        for name in self._logged.keys() & results.keys():
            result, earlier = results[name], self._logged.pop(name)
            state = move_data_to_device(earlier["state"], result.value.device)
            reduce = (
                torch.add if result.meta.is_mean_reduction or result.meta.is_sum_reduction else result.meta.reduce_fx
            )
            merged = {key: reduce(value, getattr(result, key)) for key, value in state.items()}
            _restore(result, {"state": merged, "updates": earlier["updates"] + result.update_count})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop values that were not logged again in the epoch."""
        self._logged = {}


def log_epoch(trainer: pl.Trainer) -> None:
    """Log the metrics of a completed epoch, if Lightning has not yet.

    Lightning logs them after saving checkpoints; a run killed in between and resumed from the checkpoint would lack them.
    """
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    connector.on_epoch_end()
    loop._batches_that_stepped -= 1
    connector.update_train_epoch_metrics()
    loop._batches_that_stepped += 1


def _metrics(module: pl.LightningModule) -> list[tuple[str, Metric]]:
    return [(name, one) for name, one in module.named_modules() if isinstance(one, Metric)]


def _state(metric: Metric) -> dict[str, Any]:
    return {"state": dict(metric.metric_state), "updates": metric.update_count}


def _restore(metric: Metric, saved: dict[str, Any]) -> None:
    for key, value in move_data_to_device(saved["state"], metric.device).items():
        setattr(metric, key, value)
    metric._update_count, metric._computed = saved["updates"], None

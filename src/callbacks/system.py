"""System metrics: utilization of processor, memory and GPU."""

import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import lightning.pytorch as pl
import psutil
import torch

from src.bounds import Positive

_MB = 1024**2


class SystemMetrics(pl.Callback):
    """Logs on rank 0, from the training loop, at most once per interval and at the end of the training:

    ``system/cpu_percent`` (mean of all cores since the previous point), ``system/memory_mb`` (of this process),
    ``system/memory_percent`` (of the machine), and on an NVIDIA GPU ``system/gpu_percent``, ``system/gpu_memory_mb`` (used by
    all processes on the device), ``system/gpu_watt`` and ``system/gpu_celsius``, as reported by NVML.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(self, *, interval_s: Annotated[Positive, "seconds between two points"] = 5.0) -> None:
        self.interval_s = interval_s
        self._process = psutil.Process()
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and reset the processor's counters."""
        psutil.cpu_percent()
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log a point when one is due."""
        if trainer.is_global_zero and time.monotonic() - self._last >= self.interval_s:
            self._point(trainer, pl_module.device)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log a last point, so that short trainings have one."""
        if trainer.is_global_zero:
            self._point(trainer, pl_module.device)

    def _point(self, trainer: pl.Trainer, device: torch.device) -> None:
        self._last = time.monotonic()
        point = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_mb": self._process.memory_info().rss / _MB,
            "system/memory_percent": psutil.virtual_memory().percent,
        }
        for logger in trainer.loggers:
            logger.log_metrics({**point, **_gpu(device)}, trainer.global_step)


def _gpu(device: torch.device) -> Mapping[str, float]:
    """Metrics of the device from NVML; empty if there is no device or NVML is unavailable, as in some containers."""
    if device.type != "cuda":
        return {}
    try:
        return {
            "system/gpu_percent": torch.cuda.utilization(device),
            "system/gpu_memory_mb": torch.cuda.device_memory_used(device) / _MB,
            "system/gpu_watt": torch.cuda.power_draw(device) / 1000,
            "system/gpu_celsius": torch.cuda.temperature(device),
        }
    except (RuntimeError, ImportError, OSError, _nvml_error()):
        return {}


def _nvml_error() -> type[Exception]:
    import pynvml

    return pynvml.NVMLError

"""Profiling of a few chunks."""

from pathlib import Path
from typing import Annotated, ClassVar

import lightning.pytorch as pl
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from src.bounds import Count, CountOrZero


class Profile(pl.Callback):
    """Profiles a few chunks of the first epoch after a warm-up.

    Writes two files to the run's directory: ``profile.json``, a trace to open in Perfetto (ui.perfetto.dev), and
    ``profile.txt``, the most expensive operations. On a GPU each chunk is an NVTX range, for Nsight Systems.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(
        self,
        *,
        chunks: Annotated[Count, "chunks that are profiled"] = 5,
        warmup_chunks: Annotated[CountOrZero, "chunks before them that are not"] = 3,
        rows: Annotated[Count, "rows of the table"] = 30,
    ) -> None:
        self.chunks, self.warmup_chunks, self.rows = chunks, warmup_chunks, rows

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the profiler on rank 0."""
        self._profiler: profile | None = None
        self._ranges = pl_module.device.type == "cuda"
        if not trainer.is_global_zero:
            return
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._ranges else [])]
        directory, by = (
            Path(trainer.default_root_dir),
            "self_cuda_time_total" if self._ranges else "self_cpu_time_total",
        )

        def write(profiler: profile) -> None:
            profiler.export_chrome_trace(str(directory / "profile.json"))
            table = profiler.key_averages().table(sort_by=by, row_limit=self.rows)
            (directory / "profile.txt").write_text(table)

        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=self.warmup_chunks, active=self.chunks, repeat=1),
            on_trace_ready=write,
        )
        self._profiler.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Open the chunk's range."""
        if self._ranges:
            torch.cuda.nvtx.range_push(f"chunk {batch_idx}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Close the chunk's range, and advance the profiler."""
        if self._ranges:
            torch.cuda.nvtx.range_pop()
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the profiler, and write a partial profile if the training was shorter than planned."""
        if self._profiler is not None:
            self._profiler.stop()

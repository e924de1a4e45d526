"""Progress of a sweep on the terminal."""

import math
import shlex
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from src.formatting import duration, figure
from src.records.pareto import is_on_front
from src.records.record import Record
from src.records.summary import Summary, summary
from src.records.sweep import Sweep


class Status(AbstractContextManager["Status"]):
    """Prints a line for each finished job, and on a terminal a live line of the sweep: progress, best job and remaining time.

    Args:
        sweep: its record.
        at_once: number of jobs run in parallel; a single one writes its own progress to the terminal.
        console: the console to write to.
    """

    def __init__(self, sweep: Sweep, at_once: int, console: Console | None = None) -> None:
        self.sweep, self.at_once = sweep, at_once
        self.console = console or Console(highlight=False)
        finished = [summary(record) for record in sweep.records() if record.is_finished]
        self.points = [self._point(run) for run in finished]
        self.earlier = self.ended = len(finished)
        self.running: set[int] = set()
        self.done, self.failed = self.earlier, 0
        rated = [run for run in finished if run.best is not None and not sweep.objectives]
        self.best: Summary | None = min(rated, key=_rank, default=None)
        self.words: dict[int, Sequence[str]] = {}
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> "Status":
        if self.console.is_terminal and self.at_once > 1:
            # Refreshed by the thread that waits for jobs, since a process that forks should have no second thread.
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def start(self, job: int, overrides: Sequence[str]) -> None:
        """Handle the start of a job."""
        self.running.add(job)
        self.words[job] = [word for word in overrides if not word.startswith(("hydra/", "hydra.", "+hydra."))]
        if self.at_once == 1:
            self._print(f"job {job:03d}: {shlex.join(self.words[job])}")
        self.refresh()

    def end(self, job: int, record: Record | None) -> None:
        """Print a line for a job that has ended; ``record`` is None if the job could not start."""
        self.running.discard(job)
        run = summary(record) if record else None
        status = run.status if run else "failed"
        self.done += status not in ("failed", "interrupted")
        self.failed += status == "failed"
        self.ended += 1
        if run and run.status == "done" and run.best is not None and not self.sweep.objectives:
            self.best = min((one for one in (self.best, run) if one), key=_rank)
        self.points += [self._point(run)] if run and run.status == "done" else []
        outcome = status if run is None else f"{run.ended}: {run.error}" if run.error else run.outcome
        progress = f"[{self.ended}{self._of_total}]"
        self._print(f"{progress} job {job:03d} {outcome} ({shlex.join(self.words.pop(job))})")

    def refresh(self) -> None:
        """Refresh the line of the sweep."""
        if self._live:
            self._live.update(Text(self.line(), no_wrap=True, overflow="ellipsis"), refresh=True)

    def line(self) -> str:
        """The numbers of done, running and failed jobs, the best job with its settings, and the remaining time."""
        parts = [f"{self.done}{self._of_total} done", f"{len(self.running)} running"]
        parts += [f"{self.failed} failed"] if self.failed else []
        if self.best:
            parts.append(f"best {figure(self.best.best)} ({self.best.command.partition('src.train ')[2]})")
        if front := sum(is_on_front(self.points, [*self.sweep.objectives.values()])) if self.sweep.objectives else 0:
            parts.append(f"{front} on the Pareto front")
        ended = self.done + self.failed - self.earlier
        left = max(0.0, self.sweep.seconds_left)
        if ended and (total := self.sweep.values["trials"]) is not None:
            left = min(left, (time.monotonic() - self._began) / ended * (total - self.done - self.failed))
        if left < math.inf:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    @property
    def _of_total(self) -> str:
        """The number of jobs, as in ``/60``; empty if it is not known."""
        return "" if (total := self.sweep.values["trials"]) is None else f"/{total}"

    def _point(self, run: Summary) -> list[float | None]:
        """The objectives of a search over several."""
        return [run.value_of(metric) for metric in self.sweep.objectives]

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


def _rank(run: Summary) -> tuple[bool, float]:
    return run.rank

"""``hydra/launcher=processes``: the jobs of a sweep on this machine, each in a process forked from this one.

A job starts as soon as a worker is free, in a grid and in a search. This process imports everything, loads the data that jobs
share, and never computes with more than one thread, so that it can be forked; each job is trained, recorded and closed in a
separate process, whose failure affects only this job.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import psutil
import torch

from src.config.compose import Composed, Plan
from src.config.targets import resolve
from src.data.module import TensorData
from src.errors import UserError
from src.launching.hardware import choose
from src.launching.share import shared_out
from src.launching.stop import pass_on_stop, received
from src.numerics import one_thread
from src.records.record import RECORD, Record
from src.records.sweep import Sweep
from src.sweeps.jobs import train_job
from src.sweeps.status import Status
from src.sweeps.storage import report_lost_storage
from src.sweeps.study import Search
from src.sweeps.workers import Ended, Workers
from src.training.build import make_data
from src.training.run import close_killed, say


class Jobs(Protocol):
    """The remaining jobs of a sweep."""

    def next_job(self) -> tuple[int, Any] | None:
        """Number of the next job, and its configuration or overrides; None once there are no more."""

    def tell(self, job: int, failed: bool = False) -> None:
        """Handle the end of a job, or its failure before it had a record."""


class Grid:
    """The unfinished jobs of a grid, in the order of their numbers.

    Args:
        sweep: its record.
        composed: the configuration of each job.
    """

    def __init__(self, sweep: Sweep, composed: list[Composed]) -> None:
        self.sweep = sweep
        self._left: Iterator[tuple[int, Composed]] = iter(
            [
                (number, one)
                for number, one in enumerate(composed)
                if number not in sweep.skipped and not self._is_done(number)
            ]
        )

    def _is_done(self, number: int) -> bool:
        directory = self.sweep.directory / f"{number:03d}"
        return (directory / RECORD).exists() and Record.load(directory).is_finished

    def next_job(self) -> tuple[int, Composed] | None:
        """See ``Jobs``."""
        return next(self._left, None)

    def tell(self, job: int, failed: bool = False) -> None:
        """See ``Jobs``: a grid does not depend on results."""


def run_sweep(sweep: Sweep, plan: Plan) -> None:
    """Run the unfinished jobs of a sweep.

    Args:
        sweep: its record.
        plan: the plan composed from its command line.
    """
    launcher, cores = plan.hydra["launcher"], torch.get_num_threads()
    at_once = concurrent_jobs(plan, sweep.values["trials"])
    failures = Failures(launcher["max_failures"], first=3 if sweep.values["trials"] is None else None)
    import src.training.fit  # noqa: F401  # once, before any process is forked

    pass_on_stop()
    with one_thread(), shared_out(at_once, cores), report_lost_storage():
        _run(sweep, plan, at_once, failures)
    if failures.limit_reached:
        setting = launcher["max_failures"]
        reason = f", since hydra.launcher.max_failures={setting}" if setting else ""
        say(f"{failures.limit_reached}: the sweep ends{reason}; resume it to try the others.")


def _run(sweep: Sweep, plan: Plan, at_once: int, failures: "Failures") -> None:
    max_epochs = plan.configs[0]["trainer"]["max_epochs"]
    jobs: Jobs = Search(sweep, plan.space, plan.fixed, max_epochs) if plan.search else Grid(sweep, plan.composed)
    for config in plan.configs:
        share_data(config)
    with Status(sweep, at_once) as status, Workers(at_once) as workers:
        while True:
            while workers.is_free and not received() and not failures.limit_reached and (job := jobs.next_job()):
                number, what = job
                status.start(number, what.source["overrides"] if isinstance(what, Composed) else what)
                workers.start(number, train_job, sweep.directory / f"{number:03d}", what)
            if not workers.running:
                break
            for ended in workers.wait():
                record = _close(sweep, ended)
                jobs.tell(ended.job, failed=record is None and not received())
                status.end(ended.job, record)
                failures.count(record)
            status.refresh()


def concurrent_jobs(plan: Plan, jobs: int | None) -> int:
    """Number of jobs that a sweep's launcher runs in parallel.

    Args:
        plan: the plan of the sweep.
        jobs: number of jobs; None if it is not known.
    """
    launcher = plan.hydra["launcher"]
    if (count := launcher.get("n_jobs", 1)) is None:
        count = default_n_jobs(plan.configs)
    elif count < 0:
        from joblib import effective_n_jobs

        count = effective_n_jobs(count)
    return count if jobs is None else min(count, jobs)


def default_n_jobs(configs: list[dict[str, Any]]) -> int:
    """Default number of parallel jobs.

    One job per core, or per ``trainer.threads`` cores, if every job trains on one CPU device with the data in memory; else 1.

    Args:
        configs: the configurations of all jobs; for a search those at the bounds of its space.
    """
    threads = 1
    for config in configs:
        hardware = choose(config["trainer"])
        if not (
            issubclass(_data_class(config), TensorData) and hardware.accelerator == "cpu" and hardware.devices == 1
        ):
            return 1
        if config["trainer"]["threads"] != "auto" or "OMP_NUM_THREADS" in os.environ:
            threads = max(threads, hardware.threads)
    usable = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
    cores = min(usable or 1, psutil.cpu_count(logical=False) or usable or 1)
    return max(1, cores // threads)


def share_data(config: dict[str, Any]) -> None:
    """Load the data set of a configuration for all jobs that use it, if its class says which settings it depends on."""
    if getattr(_data_class(config), "loaded_by", None) is not None:
        data = make_data(config)
        assert isinstance(data, TensorData)
        with suppress(UserError, OSError):  # which the jobs report
            data.share()


def _data_class(config: dict[str, Any]) -> Any:
    return resolve(config["data"]["_target_"], "data") if config["data"] else object


def _close(sweep: Sweep, ended: Ended) -> Record | None:
    """The record of a job whose process has ended, after closing it if the process was killed; None if there is none."""
    directory = sweep.directory / f"{ended.job:03d}"
    if not (directory / RECORD).exists():
        return None
    close_killed(directory, ended.pid, ended.status)
    return Record.load(directory)


class Failures:
    """Counts failed jobs by their errors, which are compared without numbers.

    Args:
        limit: number of failures with the same error after which the sweep ends; None: no limit.
        first: without ``limit``, the limit until a job has succeeded, so that no search fails until its time is up.

    Attributes:
        limit_reached: the reason why the sweep ends; empty until then.
    """

    def __init__(self, limit: int | None, first: int | None = None) -> None:
        self._limit, self._first, self._errors = limit, first, Counter[str]()
        self.limit_reached = ""

    def count(self, record: Record | None) -> None:
        """Count a job that has ended, if it failed."""
        if record is not None and record.is_finished:
            self._first = None
        limit = self._limit or self._first
        if limit is None or record is None or record.values["status"] != "failed":
            return
        error = record.values["error"] or ""
        kind = re.sub(r"\d+", "0", error)
        self._errors[kind] += 1
        if self._errors[kind] >= limit:
            self.limit_reached = f"{self._errors[kind]} jobs have failed with the same error, the last with {error!r}"

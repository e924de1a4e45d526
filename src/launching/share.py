"""Division of this machine's cores and GPUs among the parallel jobs of a sweep.

The process that starts the sweep sets the number of jobs in the environment, which the workers inherit. Two OpenMP threads
on a busy core can be fifty times slower than one, so each job gets its own cores.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Variables for the workers: number of parallel jobs, threads for each, and the PID of the sweep's process.
_JOBS, _THREADS, _PARENT = "SWEEP_JOBS_AT_ONCE", "SWEEP_THREADS_A_JOB", "SWEEP_PARENT"


@contextmanager
def shared_out(jobs: int, cores: int) -> Iterator[None]:
    """Context in which newly started processes share this machine with the other jobs of a sweep.

    Args:
        jobs: number of parallel jobs.
        cores: number of cores to divide among them.
    """
    variables = {_JOBS: str(jobs), _PARENT: str(os.getpid())}
    if "OMP_NUM_THREADS" not in os.environ:
        variables[_THREADS] = str(max(1, cores // jobs))
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            os.environ.update({} if value is None else {name: value})


def jobs_at_once() -> int:
    """Number of jobs run in parallel."""
    return int(os.environ.get(_JOBS, 1))


def is_worker() -> bool:
    """Whether this process is one of several parallel workers of a sweep that another process leads."""
    return jobs_at_once() > 1 and os.environ[_PARENT] != str(os.getpid())


def threads_a_job() -> int | None:
    """OpenMP threads for all processes of a job together; None if cores are not divided, or the user has set the number."""
    return int(os.environ[_THREADS]) if _THREADS in os.environ else None


@contextmanager
def gpus_of_a_job(folder: Path, gpus: list[str], wanted: int) -> Iterator[None]:
    """Context in which newly started processes see only GPUs that are not assigned to another job of the sweep.

    Args:
        folder: directory of lock files, one for each slot, which are released when their holder ends.
        gpus: the names, as in ``CUDA_VISIBLE_DEVICES``, of all GPUs.
        wanted: number of GPUs for a job; if there are too few for all jobs, some are shared.
    """
    if jobs_at_once() == 1 or not gpus:
        yield
        return
    with _place(folder) as number:
        mine = [gpus[(number * wanted + n) % len(gpus)] for n in range(min(wanted, len(gpus)))]
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        try:
            yield
        finally:
            del os.environ["CUDA_VISIBLE_DEVICES"]
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextmanager
def _place(folder: Path) -> Iterator[int]:
    for number in range(jobs_at_once()):
        with (folder / f".place-{number}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    yield 0  # more jobs than slots

"""Jobs of a sweep that run beside each other share out this machine's cores and GPUs.

The process that starts the sweep says in the environment how many there are; the workers inherit it. Two OpenMP threads
on a core that is busy can be fifty times slower than one, so each job gets cores of its own.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the sweep's process tells its workers: jobs at once, threads for each, and its own number.
_JOBS, _THREADS, _PARENT = "SWEEP_JOBS_AT_ONCE", "SWEEP_THREADS_A_JOB", "SWEEP_PARENT"


@contextmanager
def shared_out(jobs: int, cores: int) -> Iterator[None]:
    """Announce that so many jobs run beside each other on this machine, to processes that are started meanwhile.

    Args:
        jobs: at once.
        cores: that they share out.
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
    """How many jobs run beside each other."""
    return int(os.environ.get(_JOBS, 1))


def is_worker() -> bool:
    """Whether this process works for a sweep that another process leads, beside others."""
    return jobs_at_once() > 1 and os.environ[_PARENT] != str(os.getpid())


def threads_a_job() -> int | None:
    """OpenMP threads for all processes of a job together; None where nothing was shared out, or the user has decided."""
    return int(os.environ[_THREADS]) if _THREADS in os.environ else None


@contextmanager
def gpus_of_a_job(folder: Path, gpus: list[str], wanted: int) -> Iterator[None]:
    """Show the processes started within only GPUs that no other job of the sweep has been given.

    Args:
        folder: where the sweep's jobs meet; each place among them is a lock there, which ends with its holder.
        gpus: the names, as in ``CUDA_VISIBLE_DEVICES``, of all there are.
        wanted: GPUs a job takes; where there are too few for all jobs at once, some are shared.
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
    yield 0  # more jobs than were announced

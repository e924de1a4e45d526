"""Logging: to the run's file in full, to the terminal in short form."""

import logging
import os
import sys
import threading
import warnings
from pathlib import Path

from src.launching.share import is_worker
from src.masking import mask
from src.terminal import survive_closed_output

LOG_NAME = "train.log"


def log_to(directory: Path, rank: int = 0, alone: bool = False) -> None:
    """Send this process's log to the run's directory.

    Rank 0 writes to train.log and the terminal. Every other rank writes to a separate file only, including its terminal output.
    So does rank 0 if parallel jobs of a sweep would write to the same terminal.

    Args:
        directory: the run's directory.
        rank: rank of this process.
        alone: whether the process trains only this run, and ends with it.
    """
    survive_closed_output()
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    threading.excepthook = _log_exception  # such as of the thread that writes event files
    path = directory / (LOG_NAME if rank == 0 else f"rank-{rank}.log")
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(file)
    if rank == 0 and not is_worker():
        terminal = logging.StreamHandler(sys.stdout)
        terminal.setFormatter(_Masking("%(message)s"))
        terminal.addFilter(lambda entry: entry.name.startswith("src.") and entry.levelno < logging.ERROR)
        root.addHandler(terminal)
    elif alone:
        sys.stdout.flush()
        sys.stderr.flush()
        with path.open("a") as own:
            os.dup2(own.fileno(), 1)
            os.dup2(own.fileno(), 2)


class _Masking(logging.Formatter):
    """Formatter that masks secrets in messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


class _LogFile(logging.FileHandler):
    """A file handler that closes with one message on the terminal when its file cannot be written; training continues."""

    ended = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        if not self.ended:
            self.ended = True
            print(f"error: {self.baseFilename} cannot be written ({sys.exc_info()[1]}).", file=sys.stderr)


def _log_exception(args: threading.ExceptHookArgs) -> None:
    where = args.thread.name if args.thread else "a thread"
    logging.getLogger(__name__).error("%s ended: %s", where, args.exc_value)


def quiet_lightning() -> None:
    """Filter Lightning's messages about itself (detected hardware, other products) from the log."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")  # of a resumed run
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # an epoch's end is logged too
    warnings.filterwarnings("ignore", message=".*srun.*command is available on your system.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # within Lightning itself

"""Errors that the user can fix: a one-line message with the value, the limit and the remedy; never a traceback."""

import difflib
from collections.abc import Collection

# Settings of earlier versions.
_RENAMED = {
    "model.loss": "task.loss",
    "model.label_smoothing": "task.label_smoothing",
    "model.gradient_clip_norm": "task.gradient_clip_norm",
    "schedule.every_epochs": "schedule.step_size",
    "schedule.factor": "schedule.gamma",
    "schedule.rise": "schedule.pct_start",
    "schedule.start_ratio": "schedule.div_factor, its reciprocal",
    "schedule.watch": "schedule.monitor",
    "schedule.patience_epochs": "schedule.patience",
}


def renamed(key: str) -> str:
    """``; it is now task.loss`` for a setting that had another name in an earlier version, or nothing."""
    return f"; it is now {_RENAMED[key]}" if key in _RENAMED else ""


def suggest(wrong: str, known: Collection[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known names, or nothing."""
    lower = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(wrong.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[nearest[0]]!r}?" if nearest else ""


def suggest_key(wrong: str, known: Collection[str]) -> str:
    """``; did you mean 'optimizer.lr'?`` for dotted keys whose last component is that of ``wrong``, or nearly.

    Keys that only share their first component, as ``trainer.fast_dev_run`` and ``trainer.devices``, are not similar. A key
    without a group may match several: the three most similar are suggested.
    """

    def last(key: str) -> str:
        return key.rpartition(".")[2]

    def similarity(key: str) -> float:
        return difflib.SequenceMatcher(None, key, wrong).ratio()

    nearest = difflib.get_close_matches(last(wrong), {last(key) for key in known}, n=1, cutoff=0.7)
    keys = sorted((key for key in known if last(key) in nearest), key=lambda key: (-similarity(key), key))
    keys = keys[: 1 if "." in wrong or wrong in keys else 3]
    return f"; did you mean {' or '.join(map(repr, keys))}?" if keys else ""


def not_installed(part: str, package: str, to_install: str | None = None, *, extra: bool = True) -> str:
    """Message for a part of the program that needs a package which is not installed.

    Args:
        part: the setting, option or command that needs it.
        package: its name in Python.
        to_install: arguments of ``pip install``; the package by default.
        extra: whether it belongs to an extra of this project, all of which ``make install-all`` installs.
    """
    remedy = f"pip install {to_install or package}"
    return f"{part} needs {package}, which is not installed: {'make install-all, or ' if extra else ''}{remedy}."


class UserError(Exception):
    """An error that the user can fix. Ends a command with status 1."""


class ConfigError(UserError):
    """An invalid command line or configuration. Ends a command with status 2, before anything is written."""


class DataError(UserError):
    """A data file is missing or damaged."""


class RunNotFound(UserError):
    """No run, or more than one, matches a name."""


class NonFiniteLoss(UserError):
    """The training loss became NaN or infinite."""


# Errors determined by the code, the settings and the data, so that a run resumed without a change to them fails again;
# unlike a full disk, a time limit, a killed process or an unknown error.
DETERMINISTIC = (ConfigError, DataError, NonFiniteLoss)


class Interrupted(BaseException):
    """SIGTERM, SIGINT, SIGHUP or SIGUSR1.

    Not an ``Exception``, which Hydra would record as one failed job before starting the next.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """Exit status as in shells, 128 plus the signal's number: 143 for SIGTERM, 130 for Ctrl-C, 129 for SIGHUP."""
        return 128 + self.signum

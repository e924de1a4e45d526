"""Errors that are the user's to mend: one sentence each, with the value, the limit and the remedy; never a traceback."""

import difflib
from collections.abc import Collection


def suggest(wrong: str, known: Collection[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known names, or nothing."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


class UserError(Exception):
    """Something the user can put right. Ends a command with status 1."""


class ConfigError(UserError):
    """A wrong command line or configuration. Ends a command with status 2, before anything is written."""


class DataError(UserError):
    """A data file is missing or damaged."""


class RunNotFound(UserError):
    """No run, or more than one, goes by the name that was given."""


class NonFiniteLoss(UserError):
    """The training loss became infinite or not a number."""


class Interrupted(BaseException):
    """SIGTERM, SIGINT, SIGHUP or SIGUSR1. No ``Exception``: Hydra would record it as one failed job and go on with the next."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """128 plus the signal's number, as shells count: 143 for SIGTERM, 130 for Ctrl-C, 129 for SIGHUP."""
        return 128 + self.signum

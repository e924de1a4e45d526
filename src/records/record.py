"""Run records: run.json in the run's directory, from which the run can be found, compared and reproduced."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import DETERMINISTIC, UserError
from src.files import write
from src.masking import has_credentials, masked
from src.records.lock import alone, is_alive, is_locked

RECORD = "run.json"
# Version of the module names in a record's configuration; records without a format are of format 1.
FORMAT = 3
_LOCK = ".run.json.lock"
# Values of the entry ``status``; see ``Record.status``.
STATUSES = ("done", "failed", "interrupted", "running")
# Required entries and their types.
_ENTRIES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "name": (str, type(None)),
    "tags": (list,),
    "status": (str,),
    "command": (str,),
    "overrides": (list,),
    "config": (dict,),
    "environment": (dict,),
    "started": (str,),
    "duration_s": (int, float, type(None)),
    "metrics": (dict,),
    "best": (dict,),
    "sweep": (str, type(None)),
    "error": (str, type(None)),
}


# Entries of ``imported``, in the record of a run of another program.
_IMPORTED: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("from", "kind", "id", "experiment"), str),
    "changed": (int, float),
}
# An imported run that was running is shown as interrupted after this time without a change.
_RECENT_S = 600.0


def claim(parent: Path, letter: str) -> Path:
    """Create a unique directory, such as ``parent/r20261123-214000-ab12``, with the time in UTC.

    ``os.mkdir`` fails if the directory exists, so runs that start in the same second never share one.

    Raises:
        UserError: the directory cannot be created.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            directory = parent / f"{letter}{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            try:
                directory.mkdir()
                return directory
            except FileExistsError:
                continue
    except OSError as error:
        raise UserError(
            f"{parent} cannot be written ({error.strerror}): make it writable, or set OUTPUTS_DIR to a folder that is."
        ) from None


def _problem(values: Any) -> str | None:
    """The reason why the entries are not a valid record, if any."""
    if not isinstance(values, dict):
        return "it holds no entries"
    for entry, kinds in _ENTRIES.items():
        if entry not in values:
            return f"it lacks {entry}"
        if not isinstance(values[entry], kinds):
            return f"its {entry} is {json.dumps(values[entry])[:40]}"
    if "progress" in values and not _is_progress(values["progress"]):
        return f"its progress is {json.dumps(values['progress'])[:40]}"
    if not isinstance(values.get("format", FORMAT), int):
        return f"its format is {json.dumps(values['format'])[:40]}"
    if "/" in values["id"]:
        return f"its id is {values['id'][:40]!r}"
    if values["status"] not in STATUSES:
        return f"its status is {values['status']!r}"
    if not {"metric", "value", "epoch", "checkpoint"} <= set(values["best"]):
        return "its best lacks an entry"
    numbers = [*values["metrics"].values(), values["best"]["value"]]
    if not all(number is None or isinstance(number, int | float) for number in numbers):
        return "a metric is no number"
    if "imported" in values and not _is_source(values["imported"]):
        return f"its imported is {json.dumps(values['imported'])[:40]}"
    if datetime.fromisoformat(values["started"]).tzinfo is None:
        return "its start has no time zone"
    return None


def _is_source(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(entry), kind) for entry, kind in _IMPORTED.items())


def _is_progress(value: Any) -> bool:
    """Whether a value is what ``RunRecorder`` writes once an epoch."""
    if not isinstance(value, dict):
        return False
    kinds = {
        "epochs_completed": int,
        "step": int,
        "max_epochs": int | None,
        "seconds_per_epoch": int | float | None,
        "at": str,
    }
    is_complete = all(name in value and isinstance(value[name], kind) for name, kind in kinds.items())
    return is_complete and datetime.fromisoformat(value["at"]).tzinfo is not None


class Record:
    """Record of one run, written by the run and by commands that add tags or notes.

    Args:
        directory: the run's directory.
        values: the record's entries.
    """

    def __init__(self, directory: Path, values: dict[str, Any]) -> None:
        self.directory, self.values = directory, values

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        sweep: str | None,
        config: Mapping[str, Any],
        overrides: list[str],
        command: str,
        git: Mapping[str, Any] | None,
        environment: Mapping[str, Any],
        choices: Mapping[str, str | None] | None = None,
    ) -> "Record":
        """Open the record of a new run."""
        record = cls(
            directory,
            {
                "format": FORMAT,
                "id": f"{sweep}-{directory.name}" if sweep else directory.name,
                "name": config["name"],
                "tags": config["tags"],
                "status": "running",
                "command": command,
                "overrides": overrides,
                "choices": choices or {},
                "config": config,
                "seed": config["seed"],
                "git": git,
                "environment": environment,
                "started": _now(),
                "duration_s": None,
                "metrics": {},
                "best": {"metric": config["monitor"], "value": None, "epoch": None, "checkpoint": None},
                "error": None,
                "error_type": None,
                "sweep": sweep,
                "resumed": [],
            },
        )
        record.update()
        return record

    @classmethod
    def load(cls, directory: Path) -> "Record":
        """Read a run's record.

        Raises:
            FileNotFoundError: the directory has no record.
            ValueError: the file is not the record of a run.
        """
        return cls.parse(directory, (directory / RECORD).read_bytes())

    @classmethod
    def parse(cls, directory: Path, content: bytes) -> "Record":
        """Read a run's record from the content of its file.

        Raises:
            ValueError: the content is not the record of a run.
        """
        try:
            text = content.decode()
            values = masked(json.loads(text)) if has_credentials(text) else json.loads(text)
            if problem := _problem(values):
                raise ValueError(problem)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{directory / RECORD} is not a run's record ({error}).") from None
        return cls(directory, values)

    @property
    def status(self) -> str:
        """running, done, pruned, failed or interrupted; a run that was killed, and whose record says running, is interrupted.

        This is determined from the run's lock, or if that cannot be read, from its process, if it is visible on this machine.
        """
        status = str(self.values["status"])
        if status != "running":
            return "pruned" if status == "done" and self.values.get("pruned_in_epoch") else status
        if self.is_imported:
            return status if time.time() - self.values["imported"]["changed"] < _RECENT_S else "interrupted"
        locked = is_locked(self.directory)
        at_work = is_alive(self.values["environment"]) if locked is None else locked
        return "interrupted" if at_work is False else status

    @property
    def is_busy(self) -> bool:
        """Whether a command is using the run, so that no other command may resume or remove it.

        False if only ranks of a killed command still hold the lock, which ``owned`` waits for; and if neither lock nor process
        is visible from here, since the run could never be released.
        """
        if self.values["status"] != "running":
            return False
        locked, alive = is_locked(self.directory), is_alive(self.values["environment"])
        return alive is True if locked is None else locked and alive is not False

    @property
    def format(self) -> int:
        """Format of the record; only runs of the current format can be resumed or their models rebuilt."""
        return int(self.values.get("format", 1))

    @property
    def is_imported(self) -> bool:
        """Whether the run was made by another program; it has settings, metrics and curves, but no checkpoint and no code."""
        return "imported" in self.values

    @property
    def is_finished(self) -> bool:
        """Whether the run is done or pruned, with nothing to resume."""
        return self.values["status"] == "done"

    @property
    def would_fail_again(self) -> bool:
        """Whether the run failed with an error that would recur if it were resumed unchanged."""
        deterministic = {kind.__name__ for kind in DETERMINISTIC}
        return self.values["status"] == "failed" and self.values.get("error_type") in deterministic

    @property
    def is_copy(self) -> bool:
        """Whether the directory is a copy of the one created for this id."""
        name = self.directory.name
        return self.values["id"] not in (name, f"{self.directory.parent.name}-{name}")

    @property
    def started(self) -> datetime:
        """Start time of the run."""
        return datetime.fromisoformat(self.values["started"])

    @property
    def typed(self) -> dict[str, str]:
        """The overrides of the command line, key to value; jobs of a sweep differ only in these."""
        words = (word.partition("=") for word in self.values["overrides"])
        return {key.lstrip("+"): value for key, _, value in words}

    def reopen(self, config: Mapping[str, Any], overrides: list[str], environment: Mapping[str, Any]) -> None:
        """Resume an interrupted run.

        Args:
            config: the configuration, including changed settings.
            overrides: the overrides that change settings.
            environment: the environment in which it resumes.
        """
        self.update(
            status="running",
            error=None,
            error_type=None,
            config=config,
            # Tags added to the run later are kept, unless the command line sets others.
            tags=self.values["tags"] if config["tags"] == self.values["config"]["tags"] else config["tags"],
            environment=environment,
            overrides=[*self.values["overrides"], *overrides],
            resumed=[*self.values.get("resumed", []), {"at": _now(), "overrides": overrides}],
        )

    def update(self, **values: Any) -> None:
        """Change entries, keeping changes that other processes have made to the others."""
        self.change(lambda _: values)

    def change(self, edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Change entries atomically, based on their current values. Every change of run.json is made here.

        Args:
            edit: receives the current entries of the file, and returns those to change.
        """
        with alone(self.directory / _LOCK):
            if (self.directory / RECORD).exists():
                self.values = Record.load(self.directory).values
            self.values = masked({**self.values, **edit(self.values)})
            write(self.directory / RECORD, json.dumps(self.values, indent=2, allow_nan=False) + "\n")

    def warn(self, text: str) -> None:
        """Add a warning for the user, with the time."""
        self.change(lambda run: {"warnings": [*run.get("warnings", []), {"at": _now(), "text": text}]})

    def finish(self, status: str, started: float, error: str | None = None, **values: Any) -> None:
        """Close the record.

        Args:
            status: done, failed or interrupted.
            started: ``time.monotonic()`` when the run began.
            error: the last line of the error, when it failed.
            values: further entries to change; for a failed run ``error_type``, the name of the error's class.
        """
        earlier = self.values["duration_s"] or 0.0
        duration = round(earlier + time.monotonic() - started, 3)
        self.update(status=status, error=error, duration_s=duration, **values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

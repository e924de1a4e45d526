"""The run record: run.json in the run's directory, from which the run can be found, compared and run again."""

import json
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.files import write
from src.tracking.ownership import is_gone

RECORD = "run.json"
# Without these nothing can be done with a run.
_ENTRIES = {"id", "name", "tags", "status", "config", "started", "metrics", "best", "sweep", "error"}


def claim(parent: Path, letter: str) -> Path:
    """Make a directory that no other process has, such as ``parent/r20261123-214000-ab12``.

    ``os.mkdir`` fails on a directory that is there, so runs that start in the same second never share one.

    Raises:
        UserError: the directory cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            directory = parent / f"{letter}{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            try:
                directory.mkdir()
                return directory
            except FileExistsError:
                continue
    except OSError as error:
        raise UserError(
            f"{parent} cannot be written ({error.strerror}): make it writable, or set OUTPUTS_DIR to a folder that is."
        ) from None


class Record:
    """One run's record. Written by one process at a time: the one that owns the run, and rank 0 while it trains.

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
    ) -> "Record":
        """Open the record of a run that begins now."""
        record = cls(
            directory,
            {
                "id": f"{sweep}-{directory.name}" if sweep else directory.name,
                "name": config["name"],
                "tags": config["tags"],
                "status": "running",
                "command": command,
                "overrides": overrides,
                "config": config,
                "seed": config["seed"],
                "git": git,
                "environment": environment,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "duration_s": None,
                "metrics": {},
                "best": {"metric": config["monitor"], "value": None, "epoch": None, "checkpoint": None},
                "error": None,
                "sweep": sweep,
                "resumed": [],
            },
        )
        record.save()
        return record

    @classmethod
    def load(cls, directory: Path) -> "Record":
        """Read a run's record.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not a run's record.
        """
        values = json.loads((directory / RECORD).read_text())
        if not isinstance(values, dict) or not set(values) >= _ENTRIES:
            raise ValueError(f"{directory / RECORD} is not a run's record.")
        return cls(directory, values)

    @property
    def status(self) -> str:
        """running, done, failed or interrupted; what was killed with its record at running counts as interrupted."""
        status = str(self.values["status"])
        return "interrupted" if status == "running" and is_gone(self.values["environment"]) else status

    @property
    def is_abandoned(self) -> bool:
        """Whether whoever holds the run's lock may go on with it although its record says running."""
        environment = self.values["environment"]
        return is_gone(environment) or environment.get("host") != socket.gethostname()

    @property
    def settings(self) -> dict[str, str]:
        """What its command line said, key to value: within a sweep nothing else can differ."""
        words = (word.partition("=") for word in self.values["overrides"])
        return {key.lstrip("+"): value for key, _, value in words}

    def reopen(self, config: Mapping[str, Any], overrides: list[str], environment: Mapping[str, Any]) -> None:
        """Go on with a run that was cut off.

        Args:
            config: its configuration, with what is changed from here on.
            overrides: the words that change it.
            environment: where it goes on.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.update(
            status="running",
            error=None,
            config=config,
            tags=config["tags"],
            environment=environment,
            overrides=[*self.values["overrides"], *overrides],
            resumed=[*self.values.get("resumed", []), {"at": now, "overrides": overrides}],
        )

    def update(self, **values: Any) -> None:
        """Change entries and write the record."""
        self.values.update(values)
        self.save()

    def save(self) -> None:
        """Write the record."""
        write(self.directory / RECORD, json.dumps(self.values, indent=2, allow_nan=False) + "\n")

    def finish(self, status: str, started: float, error: str | None = None, **values: Any) -> None:
        """Close the record, keeping what rank 0 has written meanwhile.

        Args:
            status: done, failed or interrupted.
            started: ``time.monotonic()`` when the run began.
            error: the last line of the error, when it failed.
            values: entries to change besides.
        """
        self.values = Record.load(self.directory).values
        earlier = self.values["duration_s"] or 0.0
        duration = round(earlier + time.monotonic() - started, 3)
        self.update(status=status, error=error, duration_s=duration, **values)

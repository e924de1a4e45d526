"""The run record: run.json in the run's directory, from which the run can be found, compared and run again."""

import json
import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import UserError

RECORD = "run.json"
# Without these nothing can be done with a run.
_ENTRIES = {"id", "name", "tags", "status", "config", "started", "metrics", "best", "sweep", "error"}


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that at any moment either the old text or the new one is there, whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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

    def update(self, **values: Any) -> None:
        """Change entries and write the record."""
        self.values.update(values)
        self.save()

    def save(self) -> None:
        """Write the record."""
        write_atomically(self.directory / RECORD, json.dumps(self.values, indent=2, allow_nan=False) + "\n")

    def finish(self, status: str, started: float, error: str | None = None, **values: Any) -> None:
        """Close the record, keeping what rank 0 has written meanwhile.

        Args:
            status: done, failed or interrupted.
            started: ``time.monotonic()`` when the run began.
            error: the last line of the error, when it failed.
            values: entries to change besides.
        """
        self.values = Record.load(self.directory).values
        duration = round(time.monotonic() - started, 3)
        self.update(status=status, error=error, duration_s=duration, **values)

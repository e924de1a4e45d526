"""Finding the runs of other programs below a path, by the content of its files."""

import os
from collections.abc import Iterator
from pathlib import Path

from src.errors import DataError, UserError
from src.importers import mlflow, tensorboard
from src.importers.source import SourceRun
from src.loggers.event_files import PREFIX
from src.records.record import RECORD

# Suffixes of files that may be databases; one that is named itself may have any.
_DATABASES = (".db", ".sqlite", ".sqlite3")


def source_runs(path: Path) -> Iterator[SourceRun | DataError]:
    """The runs below a path, and an error for each file or run that is skipped.

    Links are not followed; hidden directories, among them the trash of MLflow, and runs of this project are ignored.

    Args:
        path: a database, or a directory that contains MLflow stores, databases or event files at any depth.

    Raises:
        UserError: the path does not exist, or is a file that is no database.
    """
    if path.is_file():
        if not mlflow.is_database(path):
            raise UserError(f"{path} is neither a directory nor an SQLite database.")
        yield from mlflow.read_database(path)
        return
    if not path.is_dir():
        raise UserError(f"{path} does not exist: name a directory or a database.")
    root = path.resolve()
    for folder, names, files in os.walk(root):
        directory = Path(folder)
        names[:] = sorted(name for name in names if not name.startswith("."))
        if RECORD in files:
            names.clear()
        elif mlflow.META in files:
            names[:] = [name for name in names if name not in mlflow.FOLDERS]
            yield from mlflow.read_directory(directory, root)
        elif any(name.startswith(PREFIX) for name in files):
            session = tensorboard.session_folder(directory, names)
            if session is not None:
                names.remove(session)
            yield from tensorboard.read_directories(directory, *([] if session is None else [directory / session]))
        for name in files:
            file = directory / name
            if name.endswith(_DATABASES) and not file.is_symlink() and mlflow.is_database(file):
                yield from mlflow.read_database(file)

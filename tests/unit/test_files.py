"""Files that are whole at every moment."""

from pathlib import Path

import pytest

from src.files import write
from tests.helpers.limits import files_of_at_most


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "run.json"
    write(path, "before")
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        write(path, "after" * 100)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]

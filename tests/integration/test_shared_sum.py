"""Gradients that are added up through shared memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from src.paths import ROOT


def said(folder: Path, how: str) -> list[dict[str, Any]]:
    """What the ranks have to say; in processes of their own, since one that has computed must not fork."""
    words = [sys.executable, "-m", "tests.helpers.sharing", str(folder), how]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(folder.glob("said-*.json"))]


def test_all_ranks_get_the_same_sum(tmp_path: Path):
    ranks = said(tmp_path, "all")
    assert len(ranks) == 3
    assert all(one["right"] for one in ranks)
    assert ranks[0]["bits"] == ranks[1]["bits"] == ranks[2]["bits"]
    assert not list((tmp_path / "memory").iterdir())


def test_where_there_is_no_room_all_ranks_know(tmp_path: Path):
    assert [one["shared"] for one in said(tmp_path, "full")] == [False] * 3


def test_a_rank_that_ends_is_noticed(tmp_path: Path):
    ranks = said(tmp_path, "leaving")
    assert len(ranks) == 2
    assert all("another rank has ended" in one["error"] for one in ranks)

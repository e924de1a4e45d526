"""What the tests of test_data.py share."""

import shutil
from pathlib import Path

from hypothesis import strategies as st

from src.paths import ROOT

RAW = ROOT / "data" / "MNIST" / "raw"


sizes = st.integers(1, 300)


seeds = st.integers(0, 2**32 - 1)


def archives(folder: Path) -> Path:
    """A data folder with the archives alone, nothing unpacked."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copy(archive, raw)
    return raw

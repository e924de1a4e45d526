"""Where things are: on the project's root, never on the current directory."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
OUTPUTS = Path(os.environ.get("OUTPUTS_DIR") or ROOT / "outputs").absolute()
RUNS = OUTPUTS / "runs"
SWEEPS = OUTPUTS / "sweeps"


def from_root(path: str) -> Path:
    """``path`` as it is when absolute, else below the project's root."""
    return ROOT / Path(path).expanduser()

"""Paths, relative to the project's root instead of the current directory."""

import os
from pathlib import Path

from src.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
# Set in the processes of a frozen sweep, whose code is a copy: the root of the original project.
FROZEN_FROM = "FROZEN_FROM"


def user_path(text: str) -> Path:
    """A path from user input, with a leading ``~`` expanded as in a shell."""
    return Path(os.path.expanduser(text))  # Path.expanduser raises for a user that does not exist


def outputs_dir() -> Path:
    """The directory of all runs and sweeps: the environment variable ``OUTPUTS_DIR``, else outputs/ in the project.

    Raises:
        ConfigError: ``OUTPUTS_DIR`` begins with the home directory of an unknown user.
    """
    folder = user_path(os.environ.get("OUTPUTS_DIR") or str(ROOT / "outputs"))
    if folder.parts[:1] and folder.parts[0].startswith("~"):
        raise ConfigError(f"OUTPUTS_DIR={folder}: there is no user {folder.parts[0][1:]!r}; write the full path.")
    return folder.absolute()


def runs_dir() -> Path:
    """The directory of single runs."""
    return outputs_dir() / "runs"


def sweeps_dir() -> Path:
    """The directory of sweeps, whose jobs are in the directory of their sweep."""
    return outputs_dir() / "sweeps"


def from_root(path: str) -> Path:
    """``path`` if absolute, else relative to the project's root, also when a copy of the code runs."""
    return Path(os.environ.get(FROZEN_FROM) or ROOT) / user_path(path)


def shown(path: Path, base: Path | None = None) -> str:
    """The shortest form of a path, relative to ``base`` or to the current directory."""
    base = base or Path.cwd()
    real = path.parent.resolve() / path.name  # a program's link is not resolved: it may lead out of its environment
    for one, other in ((path, base), (real, base.resolve())):
        if one.is_relative_to(other):
            return str(one.relative_to(other))
    return str(path)

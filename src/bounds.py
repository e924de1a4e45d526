"""Types of settings: constraints and descriptions of constructor parameters beyond their Python types.

    def __init__(self, *, lr: Annotated[Positive, "learning rate"] = 0.01) -> None: ...

In ``Annotated``, ``Bounds`` limits a value, a string describes it in one line, and a class denotes a mapping of its
constructor's arguments. ``src.config.schemas`` reads them; constructors may rely on them for values from a configuration.
"""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a number (greater than, greater or equal, less than, less or equal) or constraints of a string.

    ``format="run"``: the string names a run, whose id replaces it in a checked configuration.
    """

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    pattern: str | None = None
    max_length: int | None = None
    format: str | None = None


Count = Annotated[int, Bounds(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Bounds(ge=0, le=1_000_000_000)]
Samples = Annotated[int, Bounds(ge=1, le=10_000)]
Seed = Annotated[int, Bounds(ge=0, lt=2**32)]
Positive = Annotated[float, Bounds(gt=0)]
NotNegative = Annotated[float, Bounds(ge=0)]
Fraction = Annotated[float, Bounds(ge=0, le=1)]
FractionBelowOne = Annotated[float, Bounds(ge=0, lt=1)]
OpenFraction = Annotated[float, Bounds(gt=0, lt=1)]

# Words that need no quoting in a path, a command line or a filter.
WORD = r"^[A-Za-z0-9._-]+$"
Word = Annotated[str, Bounds(pattern=WORD, max_length=64)]

# A run of this project: its id, name or directory.
Run = Annotated[str, Bounds(format="run")]

# Name of a metric as a task logs it.
Metric = Annotated[str, Bounds(pattern=r"^\S+$", max_length=128)]
Mode = Literal["min", "max"]

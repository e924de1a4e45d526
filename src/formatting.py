"""How numbers and durations are printed."""

import math
from typing import NamedTuple

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class _Unit(NamedTuple):
    """A unit, used for durations of ``from_s`` or more; below ``part_below_s`` a smaller unit, the part, follows."""

    symbol: str
    seconds: int
    from_s: int
    part: str
    part_seconds: int
    part_below_s: int


_UNITS = (
    _Unit("d", _DAY, from_s=2 * _DAY, part="h", part_seconds=_HOUR, part_below_s=8 * _DAY),
    _Unit("h", _HOUR, from_s=3 * _HOUR, part="m", part_seconds=_MINUTE, part_below_s=8 * _HOUR),
    _Unit("m", _MINUTE, from_s=2 * _MINUTE, part="s", part_seconds=1, part_below_s=10 * _MINUTE),
)


def figure(value: float | None) -> str:
    """Format a number to four significant digits, below 0.1 to three, so that 0.9813 and 0.0570 are aligned; empty for None."""
    if value is None:
        return ""
    if 0.01 <= abs(value) < 0.1:  # 0.09999 is 0.1000
        return f"{value:.4f}"
    return f"{value:#.{3 if 0 < abs(value) < 0.01 else 4}g}".removesuffix(".")


def duration(seconds: float | None) -> str:
    """Format a duration as kubectl does: ``90s``, ``5m30s``, ``40m``, ``3h20m``, ``30h``, ``5d3h``, ``12d``.

    Two units are written only while the first is a small number. The result is empty for None and if ``seconds`` is not finite.
    """
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = max(0, round(seconds))
    for unit in _UNITS:
        if whole >= unit.from_s:
            rest = whole % unit.seconds // unit.part_seconds if whole < unit.part_below_s else 0
            return f"{whole // unit.seconds}{unit.symbol}" + (f"{rest}{unit.part}" if rest else "")
    return f"{whole}s"

"""How numbers and durations are printed."""

import math

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# A unit and its seconds, from which duration on it is used; the smaller unit that follows it below another duration.
_UNITS = (
    ("d", _DAY, 2 * _DAY, "h", _HOUR, 8 * _DAY),
    ("h", _HOUR, 3 * _HOUR, "m", _MINUTE, 8 * _HOUR),
    ("m", _MINUTE, 2 * _MINUTE, "s", 1, 10 * _MINUTE),
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
    for unit, size, at_least, part, size_of_part, parts_below in _UNITS:
        if whole >= at_least:
            rest = whole % size // size_of_part if whole < parts_below else 0
            return f"{whole // size}{unit}" + (f"{rest}{part}" if rest else "")
    return f"{whole}s"

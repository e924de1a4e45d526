"""The Pareto front of several objectives."""

import math
from collections.abc import Sequence


def is_on_front(points: Sequence[Sequence[float | None]], modes: Sequence[str]) -> list[bool]:
    """Whether each point is on the Pareto front: no other point dominates it.

    A point dominates another if it is at least as good in every objective and better in one. Equal points do not dominate each
    other. Quadratic in the number of points.

    Args:
        points: the values of each point, one for each objective. A point with a value that is None or not finite is not on
            the front and dominates no other.
        modes: ``min`` or ``max`` for each objective.
    """
    signs = [1 if mode == "min" else -1 for mode in modes]
    costs = [
        tuple(
            sign * value for sign, value in zip(signs, point, strict=True) if value is not None and math.isfinite(value)
        )
        for point in points
    ]
    complete = {cost for cost in costs if len(cost) == len(modes)}
    front = {cost for cost in complete if not any(other != cost and _is_no_worse(other, cost) for other in complete)}
    return [cost in front for cost in costs]


def _is_no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))

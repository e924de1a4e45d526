"""Filter expressions over runs: ``optimizer.lr<0.01 and status=='done'``. Parsed with Python's grammar, never executed."""

import ast
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from src.errors import ConfigError, suggest, suggest_key
from src.records.record import STATUSES, Record
from src.records.settings import settings_of
from src.records.summary import metrics_of, summary

Values = Mapping[str, Any]  # values of a run by name
STATUS_WORDS = (*STATUSES, "pruned")  # each is a filter
# Fields of the summary, with their descriptions.
FIELDS = {
    "id": "id of the run",
    "name": "name given by name=",
    "tags": "list of tags",
    "note": "text of the note",
    "status": "done, pruned, failed, interrupted or running",
    "sweep": "id of the sweep that the run is a job of",
    "started": "start time in UTC, as ISO 8601",
    "age": "seconds since the start",
    "duration": "seconds that the training took",
    "best": "best value of the monitored metric",
    "error": "message of the error that ended the run",
    "imported": "mlflow or tensorboard, for an imported run",
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"""('[^']*'|"[^"]*")|(?<![\w.])(\d+(?:\.\d+)?)([smhdw])\b""")
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}
_CONSTANTS = {"null": None, "true": True, "false": False}
_ABSENT = object()
_DEPTH = 50


def values_of(record: Record, names: Collection[str] | None = None) -> dict[str, Any]:
    """The values of a run that a filter can refer to, by name.

    Args:
        record: the run.
        names: the values to look up, in a fraction of the time that all take; by default all.
    """
    values = settings_of(record, names)
    for name, value in metrics_of(record).items():
        if value is not None and (names is None or name in names):
            values[name] = value
    if fields := FIELDS.keys() if names is None else FIELDS.keys() & names:
        run = summary(record)
        values |= {field: getattr(run, field) for field in fields}
    return values


def value_of(record: Record, name: str) -> Any:
    """One of the values of ``values_of``; None if the run does not have it."""
    if name in FIELDS:
        return getattr(summary(record), name)
    value = metrics_of(record).get(name)
    return settings_of(record, [name]).get(name) if value is None else value


class Filter:
    """A filter expression that selects runs.

    Args:
        text: comparisons (``< <= > >= == != in``) of settings, metrics and fields with numbers, strings, lists and durations
            such as ``2h``, combined by and, or, not; a status alone is also an expression. Strings need quotes only if they
            are names. A comparison with a value that a run does not have is false.

    Raises:
        ConfigError: the expression cannot be parsed.
    """

    def __init__(self, text: str) -> None:
        self.text = text

        def seconds(found: re.Match[str]) -> str:
            return found.group(1) or str(float(found.group(2)) * _SECONDS[found.group(3)])

        try:
            if len(text) > 1000:
                raise ConfigError("a filter has at most 1,000 characters.")
            tree = ast.parse(_DURATION.sub(seconds, text.strip()), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            equal = re.search(r"(?<![=<>!])=(?!=)", text)
            hint = "== compares, = does not: " if equal else ""
            raise ConfigError(
                f"the filter {text!r} cannot be read: {hint}compare names with values and join them, as in "
                "\"optimizer.lr<0.01 and status=='done'\"; words of Python, such as try, need quotes."
            ) from None
        self.names: dict[str, None] = {}  # in the order of the expression; at least one run must have each
        self._words: set[str] = set()  # the names, and the words that may be names or strings
        self._matches = self._condition(tree, 0)

    def choose(self, records: Iterable[Record]) -> list[Record]:
        """Return the runs that match.

        Raises:
            ConfigError: the expression has a name that no run has, or compares values of incompatible types.
        """
        values = [(record, values_of(record, self._words)) for record in records]
        known = {name for _, one in values for name in one} | set(FIELDS)
        for name in sorted(self.names.keys() - known if values else ()):
            known = {name for record, _ in values for name in values_of(record)} | set(FIELDS)
            raise ConfigError(
                f"the filter {self.text!r}: no run has a setting, a metric or a field {name!r}{suggest_key(name, known) or suggest(name, known)}"
            )
        absent = dict.fromkeys(known, _ABSENT)
        return [record for record, one in values if self._matches(absent | one)]

    def _condition(self, node: ast.expr, depth: int) -> Callable[[Values], bool]:
        """Compile a condition to a function of the values of a run."""
        if depth > _DEPTH:
            raise ConfigError(f"the filter {self.text[:60]!r} ... is nested too deeply.")
        if isinstance(node, ast.BoolOp):
            join, parts = (
                all if isinstance(node.op, ast.And) else any,
                [self._condition(n, depth + 1) for n in node.values],
            )
            return lambda run: join(part(run) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            negated = self._condition(node.operand, depth + 1)
            return lambda run: not negated(run)
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            sides = [node.left, *node.comparators]
            asked = sides[-1] if isinstance(node.ops[-1], ast.In | ast.NotIn) and _dotted(sides[-1]) else sides[0]
            operands = [self._operand(side, depth, may_be_word=side is not asked) for side in sides]
            pairs = list(zip(node.ops, operands, operands[1:], strict=False))
            return lambda run: all(self._compare(op, one(run), other(run)) for op, one, other in pairs)
        name = _dotted(node)
        if name is None:
            raise self._not_understood(node)
        if name in _CONSTANTS:
            return lambda _: bool(_CONSTANTS[name])
        if name in STATUS_WORDS:
            self._words.add("status")
            return lambda run: bool(run["status"] == name)
        self.names[name] = None
        self._words.add(name)
        return lambda run: run[name] is not _ABSENT and bool(run[name])

    def _operand(self, node: ast.expr, depth: int, *, may_be_word: bool) -> Callable[[Values], Any]:
        """Compile one side of a comparison to a function of the values of a run."""
        name = _dotted(node)
        if name in _CONSTANTS:
            return lambda _: _CONSTANTS[name]
        if name is not None:
            self._words.add(name)
            if not may_be_word:
                self.names[name] = None
            return lambda run: run.get(name, name)
        if isinstance(node, ast.List | ast.Tuple) and depth < _DEPTH:
            parts = [self._operand(part, depth + 1, may_be_word=True) for part in node.elts]
            return lambda run: [part(run) for part in parts]
        if (constant := _constant(node)) is _ABSENT:
            raise self._not_understood(node)
        return lambda _: constant

    def _not_understood(self, node: ast.expr) -> ConfigError:
        return ConfigError(
            f"the filter {self.text!r}: {ast.unparse(node)!r} is neither a name nor a value nor a comparison of them."
        )

    def _compare(self, op: ast.cmpop, one: Any, other: Any) -> bool:
        is_ordering = not isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn)
        if one is _ABSENT or other is _ABSENT or (is_ordering and (one is None or other is None)):
            return False
        try:
            return bool(_COMPARE[type(op)](one, other))
        except TypeError:
            if other is None:
                return isinstance(op, ast.NotIn)
            raise ConfigError(f"the filter {self.text!r}: {one!r} and {other!r} cannot be compared so.") from None


def _dotted(node: ast.expr) -> str | None:
    """The dotted name of a node, as ``optimizer.lr``, or ``val/acc``, which Python parses as a division; else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        sides = _dotted(node.left), _dotted(node.right)
        return None if None in sides else "/".join(map(str, sides))
    return None


def _constant(node: ast.expr) -> Any:
    """The value of a literal number or string, else ``_ABSENT``."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _constant(node.operand)
        return -value if isinstance(value, int | float) else _ABSENT
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        return node.value
    return _ABSENT

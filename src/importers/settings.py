"""Parameters of other programs as settings: typed and nested values. Nothing is executed."""

import ast
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from src.errors import DataError
from src.importers.source import read_text

_WORDS = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", re.ASCII)
_LENGTH = 8000  # of a value, MLflow's limit
_DEPTH = 20  # of nested values
# Both construct plain values only.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def typed(text: str) -> Any:
    """Parse the text of a parameter: null, a boolean, a number, a list or a mapping; any other text is returned as it is."""
    text = text[:_LENGTH]
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if text[:1] in "[{(" and text.count("[") + text.count("{") + text.count("(") <= _DEPTH:
        return _literal(text)
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _literal(text: str) -> Any:
    """Parse a list or a mapping, in JSON or as printed by Python."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return json.loads(json.dumps(parse(text), allow_nan=False))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Nest parameters by the dots and slashes of their names: ``opt.lr`` and ``opt/lr`` are ``{"opt": {"lr": ...}}``.

    A name that is also the name of a group keeps its dots.
    """
    config: dict[str, Any] = {}
    for name, value in sorted(params.items()):
        *groups, last = name.replace("/", ".").split(".", _DEPTH)
        node: Any = config
        for group in groups:
            node = node.setdefault(group, {}) if isinstance(node, dict) else None
        if isinstance(node, dict) and last not in node:
            node[last] = value
        else:
            config[name] = value
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with a mapping of plain values.

    Raises:
        DataError: it is something else, has tags that construct objects, or aliases, by which a small file can be huge.
    """
    text = read_text(path)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
            raise DataError(f"{path} has YAML aliases, which are not read.")
        values = yaml.load(text, Loader=_LOADER)
        if isinstance(values, dict):
            return {str(key): _plain(value) for key, value in values.items()}
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    raise DataError(f"{path} is not a YAML file of plain values.")


def _plain(value: Any) -> Any:
    """Convert the values that YAML adds to those of JSON, such as dates, to text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(one) for one in value]
    is_plain = (
        value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    )
    return value if is_plain else str(value)

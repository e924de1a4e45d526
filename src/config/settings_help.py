"""A configuration's settings: values, descriptions and bounds; as text for --help."""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from src.bounds import WORD
from src.config.schemas import of_group, schema_of
from src.config.targets import GROUPS, MANY, ONE
from src.records.settings import as_word

WIDTH, _COLUMN = 80, 32
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"boolean": "true | false", "string": "text", "object": "group"}


class Setting(NamedTuple):
    """A setting as the reference lists it.

    Attributes:
        key: dotted key, such as ``optimizer.lr``.
        value: configured value, or the default if it is not configured; ``???`` if there is none.
        is_configured: whether the configuration contains it; otherwise the command line needs a ``+`` before the key.
        allowed: its types with their bounds, or its allowed values; empty if any plain value is allowed.
        description: one line, or empty.
    """

    key: str
    value: Any
    is_configured: bool
    allowed: str
    description: str

    @property
    def override(self) -> str:
        """The override that sets the value."""
        return f"{'' if self.is_configured else '+'}{self.key}={as_word(self.value)}"


def describe_flags(parser: argparse.ArgumentParser) -> str:
    """Describe the flags of a parser."""
    lines: list[str] = []
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            flags = ", ".join(sorted(action.option_strings, key=len))
            value = f" {'|'.join(action.choices or [action.dest.upper()])}" if action.nargs is None else ""
            lines += _columns(f"  {flags}{value}", action.help or "")
    return "\n".join([*lines, ""])


def _columns(left: str, text: str) -> Iterator[str]:
    """A row of two columns: a word and its wrapped description."""
    lines = textwrap.wrap(text, WIDTH - _COLUMN) or [""]
    if len(left) >= _COLUMN:
        yield left
        left = ""
    yield from (f"{word:{_COLUMN}}{line}".rstrip() for word, line in zip_longest([left], lines, fillvalue=""))


def describe_settings(config: Mapping[str, Any]) -> str:
    """Describe every setting that can be changed; ``+`` marks those that are absent from the configuration.

    Args:
        config: the composed configuration as plain values.

    Raises:
        ConfigError: ``config`` names an object that does not exist.
    """
    run = {key: value for key, value in config.items() if key not in GROUPS}
    lines = [*_lines(settings(of_group("config")["run"], run, ""))]
    nodes = [(group, group, config.get(group)) for group in ONE]
    nodes += [(group, f"{group}.{name}", node) for group in MANY for name, node in (config.get(group) or {}).items()]
    for group, prefix, node in nodes:
        if isinstance(node, Mapping) and "_target_" in node:
            lines += ["", f"{prefix}: {node['_target_']}"]
            lines += _lines(settings(schema_of(node["_target_"], group), node, f"{prefix}."))
    trainer = settings(of_group("trainer")["trainer"], config.get("trainer") or {}, "trainer.")
    return "\n".join([*lines, "", "trainer", *_lines(trainer), ""])


def settings(schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    """The settings of an object, configured ones first.

    Args:
        schema: the schema of the object.
        values: its configured values.
        prefix: precedes each key.
    """
    properties = schema["properties"]
    for key in [key for key in dict.fromkeys([*values, *properties]) if key != "_target_"]:
        one = properties.get(key, {})
        value = values.get(key, one.get("default", "???"))
        inner = next((option for option in one.get("anyOf", [one]) if "properties" in option), None)
        if inner and isinstance(value, Mapping):
            yield from settings(inner, value, f"{prefix}{key}.")
        else:
            allowed = " | ".join(_limits(one))
            yield Setting(f"{prefix}{key}", value, key in values, allowed, one.get("description", ""))


def _lines(found: Iterator[Setting]) -> Iterator[str]:
    for setting in found:
        text = f"{setting.description}{f' ({setting.allowed})' if setting.allowed else ''}".strip()
        yield from _columns(f"  {setting.override}", text)


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    """The constraints of a schema: its allowed values, or its types with bounds."""
    for one in schema.get("anyOf", [schema]):
        low, high = one.get("minimum"), one.get("maximum")
        bounds = [f"{low:g} to {high:g}"] if None not in (low, high) else []
        bounds += [f"{sign} {one[key]:g}" for key, sign in _SIGNS.items() if key in one and not bounds]
        if "enum" in one:
            yield from map(as_word, one["enum"])
        elif one.get("type") == "array":
            yield f"list of {' | '.join(_limits(one.get('items', {}))) or 'values'}"
        elif one.get("pattern") == WORD:
            yield "letters, digits and . _ -"
        elif "type" in one:
            name = _TYPES.get(one["type"], one["type"])
            yield f"{'' if bounds and name == 'number' else name} {', '.join(bounds)}".strip()

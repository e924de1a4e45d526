"""A configuration's settings: values, descriptions and bounds; as text for --help."""

import argparse
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from src.bounds import WORD
from src.config.schemas import of_group, schema_of
from src.config.targets import GROUPS, MANY, ONE
from src.records.settings import as_word

WIDTH, _COLUMN = 80, 32
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"boolean": "true | false", "string": "text", "object": "group"}


@dataclass(frozen=True)
class Setting:
    """A setting of a configuration.

    Attributes:
        key: dotted key, such as ``optimizer.lr``.
        value: configured value, or the default if it is not configured; ``???`` if there is none.
        is_configured: whether the configuration contains it; otherwise the command line needs a ``+`` before the key.
        schema: the JSON schema of its values.
    """

    key: str
    value: Any
    is_configured: bool
    schema: Mapping[str, Any]

    @property
    def description(self) -> str:
        """One line, or empty."""
        return self.schema.get("description", "")

    @property
    def allowed(self) -> str:
        """The types with their bounds, or the allowed values; empty if any plain value is allowed."""
        return " | ".join(_limits(self.schema))

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


def describe_settings(config: Mapping[str, Any], groups: Collection[str] | None = None) -> str:
    """Describe the settings that can be changed; ``+`` marks those that are absent from the configuration.

    Args:
        config: the composed configuration as plain values.
        groups: groups whose settings are described; by default all, and the settings of the run.

    Raises:
        ConfigError: ``config`` names an object that does not exist.
    """
    lines: list[str] = []
    for title, found in parts(config, schema_of):
        if groups is not None and re.split("[.:]", title)[0] not in groups:
            continue
        lines += ["", title] if title else []
        for setting in found:
            text = f"{setting.description}{f' ({setting.allowed})' if setting.allowed else ''}".strip()
            lines += _columns(f"  {setting.override}", text)
    return "\n".join([*lines, ""]).lstrip("\n")


def parts(
    config: Mapping[str, Any], schema_of: Callable[[object, str], Mapping[str, Any] | None]
) -> Iterator[tuple[str, Iterator[Setting]]]:
    """The parts of a configuration, with their titles and settings; the first, without a title, is the run itself.

    Args:
        config: the configuration as plain values.
        schema_of: returns the schema of a target in a group; objects without a schema are left out.
    """
    run = {key: value for key, value in config.items() if key not in GROUPS}
    yield "", settings(of_group("config")["run"], run, "")
    nodes = [(group, group, config.get(group)) for group in ONE]
    nodes += [(group, f"{group}.{name}", node) for group in MANY for name, node in (config.get(group) or {}).items()]
    for group, prefix, node in nodes:
        if isinstance(node, Mapping) and "_target_" in node and (schema := schema_of(node["_target_"], group)):
            yield f"{prefix}: {node['_target_']}", settings(schema, node, f"{prefix}.")
    yield "trainer", settings(of_group("trainer")["trainer"], config.get("trainer") or {}, "trainer.")


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
            yield Setting(f"{prefix}{key}", value, key in values, one)


def allowed_values(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The values that a schema enumerates, including those of a list's items."""
    for one in schema.get("anyOf", [schema]):
        if "enum" in one:
            yield from one["enum"]
        elif one.get("type") == "boolean":
            yield from (True, False)
        elif one.get("type") == "null":
            yield None
        elif one.get("type") == "array":
            yield from allowed_values(one.get("items", {}))


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

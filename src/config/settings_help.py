"""The settings of a configuration as a text: each with its value, its description and its bounds."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from src.bounds import WORD
from src.config.schemas import of_group, schema_of
from src.config.targets import GROUPS, MANY, ONE
from src.records.settings import as_word

_WIDTH, _COLUMN = 100, 36
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"boolean": "true | false", "string": "text", "object": "group"}


def describe_settings(config: Mapping[str, Any]) -> str:
    """Every setting that can be changed; a ``+`` marks those that are not configured and have their default.

    Args:
        config: composed; plain values.

    Raises:
        ConfigError: it names an object that does not exist.
    """
    lines: list[str] = []
    _describe(lines, of_group("config")["run"], {key: one for key, one in config.items() if key not in GROUPS}, "")
    for group in ONE:
        _describe_node(lines, config[group], group, group)
    lines += ["", "trainer"]
    _describe(lines, of_group("trainer")["trainer"], config["trainer"], "trainer.")
    for group in MANY:
        for name, node in config[group].items():
            _describe_node(lines, node, group, f"{group}.{name}")
    return "\n".join([*lines, ""])


def _describe_node(lines: list[str], node: Mapping[str, Any], group: str, prefix: str) -> None:
    lines += ["", f"{prefix}: {node['_target_']}"]
    schema = schema_of(node["_target_"], group)
    _describe(lines, schema, {key: one for key, one in node.items() if key != "_target_"}, f"{prefix}.")


def _describe(lines: list[str], schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str) -> None:
    """Append the settings of an object, those that are configured first."""
    properties = {key: one for key, one in schema["properties"].items() if key != "_target_"}
    for key in [*values, *(key for key in properties if key not in values)]:
        one = properties.get(key, {})
        value = values.get(key, one.get("default"))
        inner = next((option for option in one.get("anyOf", [one]) if "properties" in option), None)
        if inner and isinstance(value, Mapping):
            _describe(lines, inner, value, f"{prefix}{key}.")
            continue
        plus = "" if key in values else "+"
        setting = f"{plus}{prefix}{key}={as_word(value) if plus or key in values else ''}"
        limits = " | ".join(_limits(one))
        text = f"{one.get('description', '')}{f' ({limits})' if limits else ''}".strip()
        indent = " " * _COLUMN
        wrapped = textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
        if len(setting) + 3 < _COLUMN and wrapped:
            wrapped[0] = f"  {setting}".ljust(_COLUMN) + wrapped[0].strip()
            lines += wrapped
        else:
            lines += [f"  {setting}", *wrapped]


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    """What a schema admits: its values, or types with bounds."""
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

"""Validation of values against a JSON schema, with one message for each that is wrong."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from src.bounds import WORD
from src.errors import renamed, suggest, suggest_key

_TYPES = {
    "number": "a finite number",
    "integer": "an integer",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a group of settings",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "a list of at least {} elements",
    "maxItems": "a list of at most {} elements",
    "maxLength": "at most {} characters long",
}


def _is_number(_: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# YAML's types: true is no number, 1.0 no integer, and neither infinity nor NaN a number.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer}),
)


def problems(
    schema: Mapping[str, Any],
    values: Mapping[str, Any],
    prefix: str,
    everywhere: Collection[str] = (),
    typed: Mapping[str, str] | None = None,
) -> list[str]:
    """What is wrong with values: messages with the key, the value, the limit and the remedy.

    Args:
        schema: of the values.
        values: nested plain dicts and lists.
        prefix: their dotted key.
        everywhere: every dotted key of the configuration.
        typed: values as they were typed, by dotted key.
    """
    found: list[str] = []
    not_text: dict[str, str] = {}
    limits: dict[tuple[str, str], list[str]] = {}  # of a value that may be of several types
    for error in _Validator(schema).iter_errors(values):
        for one in _innermost(error):
            key, rule = _key(prefix, one.absolute_path), one.validator
            if rule == "additionalProperties":
                unknown = (name for name in one.instance if name not in one.schema["properties"])
                found += [_unknown(f"{key}.{name}" if key else name, one.schema, everywhere) for name in unknown]
            elif rule == "required":
                missing = (name for name in one.validator_value if name not in one.instance)
                found += [f"{key}.{name} is missing." if key else f"{name} is missing." for name in missing]
            elif rule == "type" and one.validator_value == "string":
                not_text[key] = _not_text(key, one.instance, typed or {})
            else:
                limits.setdefault((key, as_yaml(one.instance)), []).append(_limit(str(rule), one.validator_value))
    for (key, value), words in limits.items():
        if key not in not_text:
            found.append(f"{key}={value} must be {' or '.join(dict.fromkeys(words))}.")
    return list(dict.fromkeys([*found, *not_text.values()]))


def _innermost(error: ValidationError) -> Iterator[ValidationError]:
    """The errors of each alternative; of those within a value of the right type only."""
    alternatives = error.context or ()
    within = [one for one in alternatives if one.path or one.validator in ("additionalProperties", "required")]
    for one in within or alternatives:
        yield from _innermost(one)
    if not alternatives:
        yield error


def _limit(rule: str, value: Any) -> str:
    """A rule of a JSON schema in words that follow "must be"."""
    if rule == "type":
        return _TYPES[value]
    if rule == "enum":
        *others, last = map(repr, value)
        return f"{', '.join(others)} or {last}" if others else last
    if rule == "pattern":
        return "of letters, digits and . _ - only" if value == WORD else f"text that matches {value}"
    return _LIMITS[rule].format(f"{value:g}" if value < 1e6 else value)


def _key(prefix: str, path: Sequence[str | int]) -> str:
    """A dotted key, with [n] for elements of lists."""
    for step in path:
        prefix += f"[{step}]" if isinstance(step, int) else f".{step}" if prefix else step
    return prefix


def _unknown(key: str, schema: Mapping[str, Any], everywhere: Collection[str]) -> str:
    properties = schema["properties"]
    owner = f" of {properties['_target_']['const']}" if "_target_" in properties else ""
    hint = renamed(key) or suggest(key.rpartition(".")[2], properties) or suggest_key(key, {*everywhere} - {key})
    return f"{key}: there is no such setting{owner}{hint}"


def _not_text(key: str, value: object, typed: Mapping[str, str]) -> str:
    """A number or the like where text is required, and how text of that spelling is typed into a shell."""
    written = typed.get(key, as_yaml(value))
    setting, bracket, _ = key.partition("[")
    quoted = '["..."]' if bracket else f'"{written}"'
    remedy = (
        f": put it into quotes that Hydra sees, as in {setting}='{quoted}'" if isinstance(value, int | float) else ""
    )
    return f"{key}={written} must be text{remedy}."


def as_yaml(value: object) -> str:
    """A value as a person would type it: null and true, not None and True."""
    return repr(value) if isinstance(value, str | float) else json.dumps(value, default=str)


def converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A valid value with integers as floats where the schema has numbers and no integers."""
    options = schema.get("anyOf", [schema])
    if isinstance(value, dict):
        properties: dict[str, Any] = next((one["properties"] for one in options if "properties" in one), {})
        return {key: converted(inner, properties.get(key, {})) for key, inner in value.items()}
    if isinstance(value, list):
        items: dict[str, Any] = next((one["items"] for one in options if "items" in one), {})
        return [converted(inner, items) for inner in value]
    types = {one.get("type") for one in options}
    is_float = "number" in types and "integer" not in types and type(value) is int
    return float(value) if is_float else value

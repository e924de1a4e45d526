"""Validation of values against a JSON schema, with one message per invalid value."""

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


# Strict types: true is not a number, 1.0 not an integer, and infinity and NaN are not numbers.
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
    """Validate values against a schema; returns one message per error, with the key, the value, the limit and the remedy.

    Args:
        schema: a JSON schema.
        values: nested plain dicts and lists.
        prefix: dotted key of ``values``.
        everywhere: every dotted key of the configuration, to suggest for an unknown one.
        typed: values as typed on the command line, by dotted key.
    """
    found: list[str] = []
    not_text: dict[str, str] = {}
    limits: dict[tuple[str, str], list[str]] = {}  # for values with several allowed types
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
            example = f", as in [{value}]" if words == [_TYPES["array"]] and value[:1] not in "[{'\"" else ""
            found.append(f"{key}={value} must be {' or '.join(dict.fromkeys(words))}{example}.")
    return list(dict.fromkeys([*found, *not_text.values()]))


def _innermost(error: ValidationError) -> Iterator[ValidationError]:
    """The errors of each alternative of a union, restricted to alternatives of the value's type if there are any."""
    alternatives = error.context or ()
    within = [one for one in alternatives if one.path or one.validator in ("additionalProperties", "required")]
    for one in within or alternatives:
        yield from _innermost(one)
    if not alternatives:
        yield error


def _limit(rule: str, value: Any) -> str:
    """A JSON schema keyword as a phrase that completes "must be"."""
    if rule == "type":
        return _TYPES[value]
    if rule == "enum":
        *others, last = map(repr, value)
        return f"{', '.join(others)} or {last}" if others else last
    if rule == "pattern":
        return "of letters, digits and . _ - only" if value == WORD else f"text that matches {value}"
    return _LIMITS[rule].format(f"{value:g}" if value < 1e6 else value)


def _key(prefix: str, path: Sequence[str | int]) -> str:
    """Dotted key of a path, with [n] for list elements."""
    for step in path:
        prefix += f"[{step}]" if isinstance(step, int) else f".{step}" if prefix else step
    return prefix


def _unknown(key: str, schema: Mapping[str, Any], everywhere: Collection[str]) -> str:
    properties = schema["properties"]
    owner = f" of {properties['_target_']['const']}" if "_target_" in properties else ""
    hint = renamed(key) or suggest(key.rpartition(".")[2], properties) or suggest_key(key, {*everywhere} - {key})
    return f"{key}: there is no such setting{owner}{hint}"


def _not_text(key: str, value: object, typed: Mapping[str, str]) -> str:
    """Message for a non-string value where a string is required, with its quoting in a shell."""
    written = typed.get(key, as_yaml(value))
    setting, bracket, _ = key.partition("[")
    quoted = '["..."]' if bracket else f'"{written}"'
    remedy = (
        f": put it into quotes that Hydra sees, as in {setting}='{quoted}'" if isinstance(value, int | float) else ""
    )
    return f"{key}={written} must be text{remedy}."


def as_yaml(value: object) -> str:
    """Format a value as YAML: null and true, not None and True."""
    return repr(value) if isinstance(value, str | float) else json.dumps(value, default=str)


def converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A valid value, with integers converted to floats where the schema allows numbers but not integers."""
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

"""Words that complete an override: groups and their choices, settings and their values."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from src.config.schemas import known_schema, of_group
from src.config.settings_help import allowed_values, parts
from src.errors import ConfigError
from src.paths import CONF
from src.records.settings import as_word
from src.records.suggestions import runs

_PLUGINS = ("hydra/launcher", "hydra/sweeper")
_PRESETS = ("debug", "experiment", "sweep")  # groups without settings of their own
_OF_RUNS = ("resume", "init_from")  # settings whose values are runs, besides those of type ``src.bounds.Run``


def overrides(typed: Sequence[str], prefix: str, **_: Any) -> dict[str, str]:
    """The words that complete an override, with their descriptions; signature of argcomplete's completers but for ``typed``.

    Args:
        typed: the words before it.
        prefix: what is typed of it.
    """
    key, equals, value = prefix.partition("=")
    sign = re.match(r"[+~]*", key)
    start, name = (sign.group(), key[sign.end() :]) if sign else ("", key)
    if equals:
        items = _values(name, typed)
        head = re.match(r"(.*[\[,])?", value, re.DOTALL)
        return {f"{key}={head.group() if head else ''}{word}": text for word, text in items.items()}
    if "." in name:
        found = (one for _, settings in parts(_configuration(typed), known_schema) for one in settings)
        end = "" if "~" in start else "="
        return {f"{start}{one.key}{end}": one.description for one in found if one.is_configured != ("+" in start)}
    words = {f"{group}=": "" for group in _groups()} | {f"{group}.": "" for group in _groups() if group not in _PRESETS}
    words |= {f"{plugin}=": "" for plugin in _PLUGINS}
    words |= {f"{name}=": one.get("description", "") for name, one in of_group("config")["run"]["properties"].items()}
    return {f"{start}{word}": text for word, text in words.items()}


def _groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")


def _values(name: str, typed: Sequence[str]) -> Mapping[str, str]:
    if name in _OF_RUNS:
        return runs("")
    if name in _groups():
        return dict.fromkeys(sorted(path.stem for path in (CONF / name).glob("*.yaml")), "")
    if name in _PLUGINS:
        from src.config.hydra import known_choices

        return dict.fromkeys(known_choices(name.partition("/")[2]), "")
    if "." in name:
        found = parts(_configuration(typed), known_schema)
        schemas = {one.key: one.schema for _, settings in found for one in settings}
    else:
        schemas = of_group("config")["run"]["properties"]
    schema = schemas.get(name, {})
    return runs("") if schema.get("format") == "run" else {as_word(value): "" for value in allowed_values(schema)}


def _configuration(typed: Sequence[str]) -> dict[str, Any]:
    """The configuration of the words typed so far; without those that cannot be composed."""
    from src.config.compose import unresolved

    words = [word for word in typed if "=" in word and not word.startswith("-")]
    choices = [word for word in words if word.partition("=")[2] in _values_of_group(word.partition("=")[0])]
    for attempt in (words, choices):
        try:
            return unresolved(attempt)
        except ConfigError:
            continue
    return unresolved([])


def _values_of_group(name: str) -> Mapping[str, str]:
    return _values(name, []) if name in _groups() else {}

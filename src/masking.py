"""Masking of credentials in everything that is written, displayed or exported. Standard library only.

A secret is recognised by its context: a password in a URL, a setting such as ``api_key``, an environment variable such as
``HF_TOKEN``. In settings it is replaced by ``${oc.env:NAME}``, Hydra's syntax for an environment variable, and the value is
kept in the environment, so that this process and its children can use it; ``reveal`` restores it when an object is built. In
text, a secret that is in no variable is replaced by ``***``.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.errors import ConfigError

_MASK = "***"
_REFERENCE = re.compile(r"\$\{oc\.env:(\w+)\}")
_MASKED = re.compile(r"(?::|//)\*\*\*@|=\*\*\*")
# Names of secrets: in any text; of settings, by the last component; of environment variables.
_KINDS = {"key": ("api", "access", "secret", "private", "auth"), "token": ("api", "access", "auth", "hf", "github")}
_WORDS = ("secret", "password", "passwd", "passphrase")
_COMPOUNDS = [rf"(?:{'|'.join(kinds)})_?{word}" for word, kinds in _KINDS.items()]
_NAME = rf"(?:\w+_)?(?:{'|'.join([*_COMPOUNDS, *_WORDS])})"
_SETTING = re.compile(rf"{_NAME}|token|credentials?", re.IGNORECASE)
_VARIABLE = re.compile(
    r"(?:^|_)(?:(?:API)?KEY|\w*TOKEN|PASS|PASSWD|PASSPHRASE|CREDENTIALS?)$|SECRET|PASSWORD", re.IGNORECASE
)
# The text before a secret, and the secret. Placeholders, as in f"{user}:{password}@", are not secrets.
_PLACEHOLDER = r"(?!\*\*\*@|\$\{|\$\w+@|\{|<|%\()"
_IN_URLS = (
    re.compile(rf"""(://[^\s:/@'"]*:){_PLACEHOLDER}([^\s/'"]+|(?!\d+/)[^\s@'"]+)(?=@)"""),
    re.compile(r"(https?://)([\w.-]{20,})(?=@)"),
    re.compile(
        rf"""([?&](?:(?:ssl)?password|passwd|pwd|secret|sig(?:nature)?|(?:\w+_)?(?:token|key))=){_PLACEHOLDER}([^\s&#'"]+)""",
        re.IGNORECASE,
    ),
)
_ASSIGNED = (
    # In code, YAML and environment files; also of an attribute and of an entry, as in os.environ["API_KEY"] = "...".
    re.compile(rf"""(?<!\w)((?i:{_NAME})["']?\]?\s*[:=]\s*["'])(?!\*\*\*|\$\{{|\{{|<)([^"'\s]{{4,}})(?=["'])"""),
    # Without quotes only a word with a digit, and without characters of an expression.
    re.compile(rf"""(?m)(^[+-]?\s*(?:export\s+)?(?i:{_NAME})\s*[:=]\s*)((?=\S*\d)[\w+/=~-]{{8,}})(?=\s*$)"""),
)
_PLACES = (*_IN_URLS, *_ASSIGNED)
_NOT_SECRET = ("", "null", "true", "false", "???")
# Shorter values of variables not set here may be ordinary words.
_SHORTEST = 8
# Smaller numbers, such as the index of a token, are no secrets, whatever the setting is called.
_SMALLEST = 100_000

# Variables for secrets from the command line or a configuration file.
_moved: dict[str, str] = {}


def is_secret(variable: str) -> bool:
    """Whether an environment variable holds a secret, by its name or by its value."""
    value = os.environ.get(variable)
    return value is not None and (bool(_VARIABLE.search(variable)) or has_credentials(value))


def has_credentials(text: str) -> bool:
    """Whether a text contains a password or a token, in a URL or assigned to a name such as ``api_key``."""
    # Searching for characters and names that occur in every match takes a fraction of the time.
    may_be_in_url = any(sign in text for sign in ("://", "?", "&"))
    places = (_IN_URLS if may_be_in_url else ()) + (_ASSIGNED if _names_secret(text.casefold()) else ())
    return any(place.search(text) for place in places)


def _names_secret(folded: str) -> bool:
    """Whether a case-folded text contains a name of a secret."""
    if any(word in folded for word in _WORDS):
        return True
    return any(
        word in folded and any(f"{kind}{word}" in folded or f"{kind}_{word}" in folded for kind in kinds)
        for word, kinds in _KINDS.items()
    )


def reference(variable: str) -> str:
    """``${oc.env:NAME}``."""
    return f"${{oc.env:{variable}}}"


def is_masked(value: object) -> bool:
    """Whether a value is or contains the placeholder of a secret."""
    return isinstance(value, str) and bool(_REFERENCE.search(value) or _MASKED.search(value))


def without_names(text: str) -> str:
    """Normalize the variable names in a masked text, for comparison."""
    return _REFERENCE.sub(_MASK, text)


def moved() -> dict[str, str]:
    """Environment variables set by this module, for processes that do not inherit them."""
    return dict(_moved)


def conceal_words(words: Sequence[str]) -> list[str]:
    """Move the secrets of ``key=value`` arguments into the environment; other arguments are unchanged."""
    split = [word.partition("=") for word in words]
    return [f"{key}{equals}{conceal(key.lstrip('+'), value)}" for key, equals, value in split]


def conceal_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Move the secrets of a configuration into the environment."""
    return {key: _conceal_value(f"{prefix}{key}", value) for key, value in config.items()}


def _conceal_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return conceal_config(value, f"{key}.")
    if isinstance(value, list):
        return [_conceal_value(key, one) for one in value]
    if isinstance(value, int) and value >= _SMALLEST and _is_named_secret(key):
        value = str(value)
    return conceal(key, value) if isinstance(value, str) else value


def _is_named_secret(key: str) -> bool:
    return bool(_SETTING.fullmatch(key.rpartition(".")[2]))


def conceal(key: str, text: str) -> str:
    """Move the secrets in the value of a setting into the environment.

    Args:
        key: the setting's dotted name.
        text: its value, quoted or not.

    Returns:
        The value, with a reference to an environment variable in place of each secret.
    """
    name = re.sub(r"\W+", "_", key).upper()
    plain = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    if _is_named_secret(key) and plain.lower() not in _NOT_SECRET and "${" not in plain:
        return reference(_variable(plain, name))
    for place in _PLACES:
        text = place.sub(lambda found: found[1] + reference(_variable(found[2], f"{name}_PASSWORD")), text)
    return _refer_to_known(text)


def _variable(secret: str, name: str) -> str:
    """The environment variable that holds a secret; ``name`` if none does yet."""
    for known, value in os.environ.items():
        if value == secret and _VARIABLE.search(known):
            return known
    number = 1
    while (numbered := name if number == 1 else f"{name}_{number}") in _moved and numbered in os.environ:
        number += 1
    _moved[numbered] = os.environ[numbered] = secret
    return numbered


def _known() -> Iterator[tuple[str, str]]:
    """Environment variables that hold secrets, and their values, the longest first."""
    named = [(name, value) for name, value in os.environ.items() if _VARIABLE.search(name)]
    found = [(name, value) for name, value in named if len(value) >= _SHORTEST or name in _moved]
    yield from sorted(found, key=lambda one: -len(one[1]))


def _refer_to_known(text: str) -> str:
    for name, value in _known():
        if value in text:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", reference(name), text)
    return text


def mask(text: str) -> str:
    """Mask the secrets in a text."""
    text = _refer_to_known(text)
    for place in _PLACES:
        text = place.sub(rf"\g<1>{_MASK}", text)
    return text


def masked(value: Any) -> Any:
    """Mask the secrets in nested dicts and lists."""
    if isinstance(value, Mapping):
        return {key: masked(one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return mask(value) if isinstance(value, str) else value


def mask_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Mask the secrets in settings of another program, whose values are not needed, by their names and by their context."""

    def hidden(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return mask_settings(value)
        if isinstance(value, list):
            return [hidden(name, one) for one in value]
        is_value = value is not None and str(value).lower() not in _NOT_SECRET
        return _MASK if is_value and _is_named_secret(name) else masked(value)

    return {name: hidden(name, value) for name, value in config.items()}


def reveal(value: Any, key: str) -> Any:
    """Restore the secrets in a setting or a group of settings, for the object that needs them.

    Args:
        value: a value, or nested dicts and lists of them.
        key: the dotted name.

    Raises:
        ConfigError: a secret is not in the environment.
    """
    if isinstance(value, Mapping):
        return {name: reveal(one, f"{key}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [reveal(one, key) for one in value]
    if not is_masked(value):
        return value
    missing = [name for name in _REFERENCE.findall(value) if name not in os.environ]
    if missing or _MASKED.search(value):
        variable = f"set the environment variable {missing[0]}, or " if missing else ""
        raise ConfigError(
            f"{key}={value} had a secret in it, which is kept in no file: {variable}give {key}= again on the command line."
        )
    return _REFERENCE.sub(lambda found: os.environ[found[1]], value)

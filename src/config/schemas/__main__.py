"""Generate the JSON schemas of what conf/ names, which editors and the checks of a command line use.

Run it after a change to a constructor or to a file in conf/; ``make schemas`` does.

    # Write the files that are out of date
    python -m src.config.schemas
    # Only report them, with exit status 1
    python -m src.config.schemas --check
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from hydra.conf import HelpConf

from src.config.hydra import PROCESSES, launcher_schemas
from src.config.schemas import DEFAULTS, FOLDER, REFERENCE, generate, of_file
from src.config.schemas.overlay import Run, trainer_schema
from src.config.signatures import arguments
from src.config.targets import GROUPS, MANY, ONE, TAKEN_BY
from src.files import write
from src.parsers import make_parser
from src.paths import CONF, shown

_WIDTH = 120
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 for success or up to date, 1 for out of date."""
    only_check = build_parser().parse_args(argv).check
    outdated = []
    for name, schema in _files():
        path, text = FOLDER / f"{name}.json", _text(schema) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            outdated.append(shown(path))
            if not only_check:
                write(path, text)
    if outdated:
        print(f"{', '.join(outdated)}: {'out of date: run make schemas' if only_check else 'generated'}.")
    return int(bool(outdated) and only_check)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.config.schemas", __doc__)
    parser.add_argument("--check", action="store_true", help="Only report the files that are out of date.")
    return parser


def _text(value: Any, indent: str = "") -> str:
    """Format as JSON, with each value on one line if it fits."""
    line, inner = json.dumps(value), f"{indent} "
    if len(indent) + len(line) <= _WIDTH or not isinstance(value, dict | list):
        return line
    pairs = value.items() if isinstance(value, dict) else ((None, one) for one in value)
    items = [f"{inner}{'' if key is None else f'{json.dumps(key)}: '}{_text(one, inner)}" for key, one in pairs]
    return "\n".join([line[0], ",\n".join(items), f"{indent}{line[-1]}"])


def _files() -> Iterator[tuple[str, dict[str, Any]]]:
    targets = _targets()
    for group in (*ONE, *MANY):
        schemas = {target: _with_defaults(generate(target, group)) for target in targets[group]}
        references = [{"$ref": f"#/$defs/{target}"} for target in schemas]
        other = {"type": "string", "not": {"enum": list(schemas)}}
        node = {"anyOf": [*references, {"required": ["_target_"], "properties": {"_target_": other}}]}
        one = {"anyOf": [{"type": ["object", "null"], **node}, {"$ref": "#/$defs/reference"}]}
        named = {"properties": {"defaults": DEFAULTS}, "additionalProperties": one}
        root = {"type": "object", **(named if group in MANY else node)}
        yield group, {"$schema": _DIALECT, **root, "$defs": {"reference": REFERENCE, **schemas}}
    trainer = _with_defaults(trainer_schema())
    yield (
        "trainer",
        {"$schema": _DIALECT, "$ref": "#/$defs/trainer", "$defs": {"reference": REFERENCE, "trainer": trainer}},
    )
    yield "launcher", {"$schema": _DIALECT, **_launchers(), "$defs": {"reference": REFERENCE}}
    yield "help", {"$schema": _DIALECT, **arguments(HelpConf)}
    run = of_file(arguments(Run))
    may_be_null = ("data", *TAKEN_BY)
    groups: dict[str, Any] = {group: {"$ref": f"{group}.json"} for group in GROUPS}
    groups |= {group: {"anyOf": [groups[group], {"type": "null"}]} for group in may_be_null}
    properties = {"defaults": DEFAULTS, **groups, **run["properties"], "hydra": {"type": "object"}}
    root = {"type": "object", "properties": properties, "additionalProperties": False}
    yield "config", {"$schema": _DIALECT, **root, "$defs": {"reference": REFERENCE, "run": run}}


def _with_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    schema = of_file(schema)
    return {**schema, "properties": {"defaults": DEFAULTS, **schema["properties"]}}


def _launchers() -> dict[str, Any]:
    """The schema of a file in conf/hydra/launcher: it states a target, or extends the launcher of a package."""
    options = []
    for name, schema in launcher_schemas().items():
        key, value = ("_target_", name) if name == PROCESSES else ("defaults", [name])
        file = of_file(schema)
        options.append({**file, "properties": {key: {"const": value}, **file["properties"]}, "required": [key]})
    return {"type": "object", "anyOf": options}


def _targets() -> dict[str, list[str]]:
    """The targets in the files of conf/, by group."""
    found: dict[str, set[str]] = {group: set() for group in (*ONE, *MANY)}
    for path in CONF.rglob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        groups = {path.parent.name: content} if path.parent.name in found else content
        for group in found.keys() & groups.keys():
            nodes = groups[group].values() if group in MANY else [groups[group]]
            found[group] |= {one["_target_"] for one in nodes if isinstance(one, dict) and "_target_" in one}
    return {group: sorted(targets - {"???"}) for group, targets in found.items()}


if __name__ == "__main__":
    sys.exit(main())

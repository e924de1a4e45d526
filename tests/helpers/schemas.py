"""The JSON schemas of the files in conf/, as editors apply them."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from omegaconf import OmegaConf
from referencing import Registry, Resource

from src.config.schemas import FOLDER
from src.paths import CONF

SCHEMAS = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}

REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)

FILES = sorted(CONF.rglob("*.yaml"))


def named_schema(path: Path) -> str:
    """The schema that a file names for editors."""
    [line] = [line for line in path.read_text().splitlines() if "yaml-language-server" in line]
    schema = (path.parent / line.partition("$schema=")[2]).resolve()
    assert schema.parent == FOLDER
    return schema.name


def faults(path: Path, **changes: object) -> list[str]:
    """What an editor would mark in a file, its settings changed."""
    content = {**OmegaConf.to_container(OmegaConf.load(path), resolve=False), **changes}  # type: ignore[dict-item]
    validator = Draft202012Validator(SCHEMAS[named_schema(path)], registry=REGISTRY)
    return [error.message for error in validator.iter_errors(content)]

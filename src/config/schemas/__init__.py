"""JSON schemas of all settings of a configuration, read without importing torch.

One file per config group contains the schemas of the targets in conf/; ``make schemas`` generates them from the signatures,
and editors use them for the YAML files. The schema of any other target is generated on first use, which imports torch, and
cached in ``.cache/`` until a source file or a package version changes.
"""

import ast
import contextlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from src.config.signatures import arguments
from src.config.targets import NESTED, check_name, resolve, supplied_to
from src.files import write
from src.paths import ROOT

FOLDER = Path(__file__).parent
_CACHE = ROOT / ".cache" / "schemas"
# A setting that this project adds to every optimizer: parameter groups with separate settings.
PARAM_GROUPS = "param_groups"
# Sources of a schema: a fingerprint of each file of this project, and the version of each package.
SOURCES = "x-sources"
# Sources of every schema, whose fingerprint covers the whole file.
_GENERATOR = ("src/bounds.py", "src/config/schemas/overlay.py", "src/config/signatures.py")
# The parameters that the program passes; for a task also its metrics with their modes, and the monitored metric.
SUPPLIED, METRICS, MONITOR = "x-supplied", "x-metrics", "x-monitor"
# Only files may contain an interpolation or ``???`` in place of a value, or a defaults list, and may omit required settings.
REFERENCE = {"type": "string", "pattern": r"^\$\{|^\?\?\?$"}
_TO_REFERENCE = {"$ref": "#/$defs/reference"}
DEFAULTS = {"type": "array", "description": "files that this one extends"}
_REQUIRED = "x-required"


@cache
def of_group(group: str) -> dict[str, dict[str, Any]]:
    """The schemas of a committed file by ``_target_``; there is a file for each group, and ``config`` with the schema ``run``."""
    text = (FOLDER / f"{group}.json").read_text(encoding="utf-8")
    return {name: _of_values(schema) for name, schema in json.loads(text)["$defs"].items() if name != "reference"}


def of_file(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a YAML file, derived from that of the composed values."""
    schema = {_REQUIRED if key == "required" else key: value for key, value in schema.items()}
    if "properties" in schema:
        properties = {key: of_file(value) for key, value in schema["properties"].items()}
        return {**schema, "properties": properties}
    if "const" in schema or not schema.keys() - {"description", "default"}:
        return schema
    about = {key: schema.pop(key) for key in [*schema] if key in ("description", "default")}
    options = [of_file(one) if "properties" in one else one for one in schema.get("anyOf", [schema])]
    return {**about, "anyOf": [*options, _TO_REFERENCE]}


def _of_values(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``of_file``."""
    schema = {"required" if key == _REQUIRED else key: value for key, value in schema.items()}
    if "properties" in schema:
        properties = {key: _of_values(value) for key, value in schema["properties"].items() if key != "defaults"}
        schema["properties"] = properties
    options = [_of_values(one) for one in schema.pop("anyOf", ()) if one != _TO_REFERENCE]
    return {**schema, **(options[0] if len(options) == 1 else {"anyOf": options} if options else {})}


def schema_of(target: object, group: str) -> dict[str, Any]:
    """The schema of an object's settings.

    Raises:
        ConfigError: ``target`` is not in a trusted package, does not exist, or is of the wrong kind for the group.
    """
    target = check_name(target, group)
    committed = None if group == NESTED else of_group(group).get(target)
    return committed or _kept(target, group) or read(target, group)


def known_schema(target: object, group: str) -> dict[str, Any] | None:
    """The schema of an object's settings, if it is committed or in the cache; imports nothing and raises no errors."""
    return of_group(group).get(str(target)) or _kept(str(target), group)


def renewed(target: str, group: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The regenerated schema of a target if its sources have changed since ``schema`` was generated, else None."""
    return None if _is_current(schema) else _kept(target, group) or read(target, group)


def default_of(node: Mapping[str, Any] | None, group: str, key: str) -> Any:
    """The configured value of a setting, or its default; None if the object has no such setting."""
    if node is None:
        return None
    if key in node:
        return node[key]
    return schema_of(node["_target_"], group)["properties"].get(key, {}).get("default")


def _kept(target: str, group: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((_CACHE / f"{group}.{target}.json").read_text(encoding="utf-8"))
        if isinstance(kept, dict) and "properties" in kept and _is_current(kept):
            return kept
    return None


def read(target: str, group: str) -> dict[str, Any]:
    """Import a target, generate its schema from the signature, and cache it.

    Raises:
        ConfigError: see ``schema_of``.
    """
    schema = generate(target, group)
    with contextlib.suppress(OSError):  # no cache if the project is read-only
        _CACHE.mkdir(parents=True, exist_ok=True)
        write(_CACHE / f"{group}.{target}.json", json.dumps(schema))
    return schema


def generate(target: str, group: str) -> dict[str, Any]:
    """Generate the schema of a target from its signature; imports the target.

    Raises:
        ConfigError: see ``schema_of``.
    """
    from src.config.schemas.overlay import PARAMETERS

    found = resolve(target, group)
    overlay = PARAMETERS if target.startswith(("torch.optim.", "lightning.")) else {}
    supplied = supplied_to(found, group)
    schema = arguments(found, supplied, overlay)
    if group == "optimizer":
        group_of = {
            "parameters": {"type": "string", "description": "pattern of parameter names"},
            **schema["properties"],
        }
        one = {"type": "object", "properties": group_of, "required": ["parameters"], "additionalProperties": False}
        about = "parameters with settings of their own, as in [{parameters: 'net.*', lr: 1e-4}]"
        schema["properties"][PARAM_GROUPS] = {"description": about, "type": "array", "items": one, "default": []}
    schema["properties"] = {"_target_": {"const": target}, **schema["properties"]}
    metrics, monitor = getattr(found, "metrics", None), getattr(found, "monitor", None)
    if group == "task" and isinstance(metrics, Mapping) and isinstance(monitor, str):
        schema |= {METRICS: dict(metrics), MONITOR: monitor}
    return {**schema, SUPPLIED: supplied, SOURCES: _sources(found)}


def _sources(found: Callable[..., Any]) -> dict[str, str]:
    files, packages = {*_GENERATOR}, set[str]()
    for one in found.__mro__[:-1] if isinstance(found, type) else [found]:
        package, file = one.__module__.partition(".")[0], getattr(sys.modules[one.__module__], "__file__", None)
        if package in sys.stdlib_module_names or file is None:
            continue
        if "site-packages" in Path(file).parts:
            packages.add(package)
        else:
            name = str(Path(file).relative_to(ROOT)) if Path(file).is_relative_to(ROOT) else file
            files |= {name, *_annotated_from(name)}
    sources = {name: _fingerprint(name) for name in sorted(files)}
    return sources | {package: _version(package) for package in sorted(packages)}


def _annotated_from(name: str) -> set[str]:
    """The source files that define names used in annotations of a file's constructors and functions."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _is_constructor(node, tree))
    annotations = (one.annotation for node in functions for one in (*node.args.args, *node.args.kwonlyargs))
    used = {part.id for one in annotations if one for part in ast.walk(one) if isinstance(part, ast.Name)}
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module)
    modules = (node.module or "" for node in imports if used & {alias.asname or alias.name for alias in node.names})
    return {name for module in modules if (ROOT / (name := f"{module.replace('.', '/')}.py")).is_file()}


def _is_constructor(node: ast.FunctionDef, tree: ast.Module) -> bool:
    """Whether a target may call this function: a constructor, or a public function of the module."""
    return node.name == "__init__" or (node in tree.body and node.name[0] != "_")


def _is_current(schema: Mapping[str, Any]) -> bool:
    return all(
        (_fingerprint if name.endswith(".py") else _version)(name) == of
        for name, of in schema.get(SOURCES, {".py": None}).items()
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).partition("+")[0]  # ignores the build, such as +cu128
    except importlib.metadata.PackageNotFoundError:
        return ""


def _fingerprint(name: str) -> str:
    """Hash of the parts of a source file that determine signatures: constructors, public functions, base classes, assignments."""
    import hashlib

    try:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        if name in _GENERATOR:
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        tree = ast.parse("\n".join(lines))
    except (OSError, SyntaxError):
        return ""
    parts: list[str] = []
    scopes: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for scope in scopes:
        for node in scope.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                parts += lines[node.lineno - 1 : node.end_lineno]
            elif isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and _is_constructor(node, tree)):
                parts += lines[node.lineno - 1 : max(node.lineno, node.body[0].lineno - 1)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

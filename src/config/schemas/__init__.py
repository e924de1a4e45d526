"""JSON schemas of everything that a configuration may set, read without importing torch.

One file for each group describes what conf/ names; ``make schemas`` generates them from the signatures, and editors use them
for the YAML files. Any other object is described when it is first named, which costs an import of torch, and kept in
``.cache/`` until a source file or a package version changes.
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
# A setting of every optimizer, of this program: parameters that have settings of their own.
PARAM_GROUPS = "param_groups"
# Of which sources a schema was generated: a fingerprint for each file of this project, a version for each package.
SOURCES = "x-sources"
# What every schema is generated with; of these the whole content matters.
_GENERATOR = ("src/bounds.py", "src/config/schemas/overlay.py", "src/config/signatures.py")
# Which parameters the program sets; of a task also the metrics that it may log, each with its mode, and which is monitored.
SUPPLIED, METRICS, MONITOR = "x-supplied", "x-metrics", "x-monitor"
# What only files may contain: in place of a value a reference to another or the mark of one that is missing; a list of
# further files. No file need be complete.
REFERENCE = {"type": "string", "pattern": r"^\$\{|^\?\?\?$"}
_TO_REFERENCE = {"$ref": "#/$defs/reference"}
DEFAULTS = {"type": "array", "description": "files that this one extends"}
_REQUIRED = "x-required"


@cache
def of_group(group: str) -> dict[str, dict[str, Any]]:
    """The schemas of a committed file by ``_target_``: one for each group, and ``config``, which has ``run``."""
    text = (FOLDER / f"{group}.json").read_text(encoding="utf-8")
    return {name: _of_values(schema) for name, schema in json.loads(text)["$defs"].items() if name != "reference"}


def of_file(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of what a file may contain, from that of the values which are composed of files."""
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
    """The schema of what a configuration may set of an object.

    Raises:
        ConfigError: the group may not name it, it does not exist, or is not of the group's kind.
    """
    target = check_name(target, group)
    committed = None if group == NESTED else of_group(group).get(target)
    return committed or _kept(target, group) or read(target, group)


def renewed(target: str, group: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a target whose sources have changed since ``schema`` was generated; None if they have not."""
    return None if _is_current(schema) else _kept(target, group) or read(target, group)


def default_of(node: Mapping[str, Any] | None, group: str, key: str) -> Any:
    """The value of a setting: as configured, or its default; None where the object has no such setting."""
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
    """Import a target, generate its schema from the signature and keep it in the cache.

    Raises:
        ConfigError: see ``schema_of``.
    """
    schema = generate(target, group)
    with contextlib.suppress(OSError):  # a project that cannot be written has no cache
        _CACHE.mkdir(parents=True, exist_ok=True)
        write(_CACHE / f"{group}.{target}.json", json.dumps(schema))
    return schema


def generate(target: str, group: str) -> dict[str, Any]:
    """The schema of a target by its signature; imports it.

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
    """The source files from which the annotations of a source file's constructors and functions import names."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _is_constructor(node, tree))
    annotations = (one.annotation for node in functions for one in (*node.args.args, *node.args.kwonlyargs))
    used = {part.id for one in annotations if one for part in ast.walk(one) if isinstance(part, ast.Name)}
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module)
    modules = (node.module or "" for node in imports if used & {alias.asname or alias.name for alias in node.names})
    return {name for module in modules if (ROOT / (name := f"{module.replace('.', '/')}.py")).is_file()}


def _is_constructor(node: ast.FunctionDef, tree: ast.Module) -> bool:
    """Whether a function may be what a target calls: a constructor, or a public function of the module."""
    return node.name == "__init__" or (node in tree.body and node.name[0] != "_")


def _is_current(schema: Mapping[str, Any]) -> bool:
    return all(
        (_fingerprint if name.endswith(".py") else _version)(name) == of
        for name, of in schema.get(SOURCES, {".py": None}).items()
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).partition("+")[0]  # of any build
    except importlib.metadata.PackageNotFoundError:
        return ""


def _fingerprint(name: str) -> str:
    """A hash of what signatures in a source file depend on: constructors, public functions, base classes, assignments."""
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

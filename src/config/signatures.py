"""JSON schemas of the arguments of classes and functions, from their signatures. Imports neither torch nor jsonschema."""

import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.bounds import Bounds

_TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
    types.NoneType: "null",
    None: "null",
}
_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "pattern": "pattern",
    "max_length": "maxLength",
    "format": "format",
}
# Schema of a value of any other class: a node with ``_target_``.
_OBJECT = {"type": "object", "required": ["_target_"]}
_NOT_SETTINGS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


def arguments(
    target: Callable[..., Any], omitted: Collection[str] = (), overlay: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """The JSON schema of the keyword arguments that a class or a function accepts.

    A parameter accepts any value if its annotation cannot be evaluated or YAML cannot express the type.

    Args:
        target: the class or the function.
        omitted: names of parameters that are not settings.
        overlay: annotations by parameter name; one applies if the signature has the same type or no annotation.
    """
    properties, required = dict[str, Any](), list[str]()
    parameters, is_open = _parameters(target)
    own = next(_functions(target), None)
    for name, (parameter, function) in parameters.items():
        if name in omitted:
            continue
        schema = of_type(_evaluated(parameter.annotation, function)) or {}
        properties[name] = _overlaid(schema, overlay[name]) if name in overlay else schema
        if parameter.default is parameter.empty:
            # A constructor that passes **kwargs to its base class may pass this parameter, too.
            required += [name] if function is own else []
        else:
            properties[name] = _with_default(properties[name], parameter.default)
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        **({} if is_open else {"additionalProperties": False}),
    }


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, tuple[inspect.Parameter, Callable[..., Any]]], bool]:
    """The keyword parameters of a class or function, each with the function that declares it; and whether it accepts any others."""
    found, is_open = dict[str, tuple[inspect.Parameter, Callable[..., Any]]](), False
    for function in _functions(target):
        parameters = inspect.signature(function).parameters.values()
        for one in parameters:
            if one.kind not in _NOT_SETTINGS and one.name != "self":
                found.setdefault(one.name, (one, function))
        is_open = any(one.kind is one.VAR_KEYWORD for one in parameters)
        if not is_open:
            break
    return found, is_open


def parameter_names(target: Callable[..., Any]) -> list[str]:
    """Names of the keyword parameters of a class or function, without ``**kwargs``."""
    return list(_parameters(target)[0])


def is_plain(target: Callable[..., Any], name: str) -> bool:
    """Whether YAML can express a parameter's type, by its annotation or its default."""
    parameter, function = _parameters(target)[0][name]
    schema = of_type(_evaluated(parameter.annotation, function)) or {}
    options = [one for one in schema.get("anyOf", [schema]) if one not in (_OBJECT, {"type": "null"}, {})]
    return bool(options) or (parameter.default not in (None, parameter.empty) and _is_json(parameter.default))


def returns(target: Callable[..., Any], kind: type) -> bool:
    """Whether a function's return annotation is a subclass of ``kind``, or a union that contains one."""
    annotation = _evaluated(inspect.signature(target).return_annotation, inspect.unwrap(target))
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    options = typing.get_args(annotation) if is_union else (annotation,)
    return any(isinstance(one, type) and issubclass(one, kind) for one in options)


def _functions(target: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The function itself, or the constructors of a class in method resolution order: each may pass ``**kwargs`` to the next."""
    if not isinstance(target, type):
        yield inspect.unwrap(target)
        return
    for base in target.__mro__[:-1]:
        if "__init__" in vars(base):
            yield inspect.unwrap(vars(base)["__init__"])


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """Evaluate an annotation; Any if it is a string that refers to imports for type checking only."""
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        return eval(annotation, getattr(function, "__globals__", {})) if isinstance(annotation, str) else annotation
    except Exception:  # evaluating an expression may raise anything
        return Any


def of_type(annotation: Any) -> dict[str, Any] | None:
    """The JSON schema of a type; None if YAML can express none of its values."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return {}
    if isinstance(annotation, type | None) and annotation in _TYPES:
        return {"type": _TYPES[annotation]}
    if typing.is_typeddict(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        properties = {name: of_type(hint) for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if origin is typing.Annotated:
        return _annotated(args[0], args[1:])
    if origin is typing.Literal:
        return {"enum": list(args)} if _is_json(args) else None
    if origin in (typing.Union, types.UnionType):
        options = [schema for schema in map(of_type, args) if schema is not None]
        if options and any(of_type(one) is None and _is_built(one) for one in args):
            options.append(_OBJECT)
        return _any_of(options) if options else None
    if origin is tuple and args[-1:] != (...,):
        items = [of_type(one) or {} for one in args]
        same = all(item == items[0] for item in items)
        return {
            "type": "array",
            **({"items": items[0]} if same else {"prefixItems": items}),
            "minItems": len(items),
            "maxItems": len(items),
        }
    plain = list if origin is tuple else origin or annotation
    if isinstance(plain, type) and issubclass(plain, Mapping):
        return {"type": "object", **({"additionalProperties": of_type(args[1]) or {}} if args else {})}
    if isinstance(plain, type) and issubclass(plain, Iterable) and issubclass(list, plain):
        return {"type": "array", **({"items": of_type(args[0]) or {}} if args else {})}
    return None


def _is_built(annotation: Any) -> bool:
    """Whether a node with ``_target_`` can provide a value of this type: an object, or with ``_partial_`` a function."""
    return isinstance(annotation, type) or typing.get_origin(annotation) is Callable


def _annotated(annotation: Any, metadata: Sequence[Any]) -> dict[str, Any] | None:
    schema = of_type(annotation)
    for one in metadata if schema is not None else ():
        if isinstance(one, type):
            schema = arguments(one)
        elif isinstance(one, str):
            schema = {**(schema or {}), "description": one}
        elif isinstance(one, Bounds):
            limits = {_KEYWORDS[name]: limit for name, limit in vars(one).items() if limit is not None}
            schema = {**(schema or {}), **limits}
    return schema


def _any_of(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The union of schemas, with the description of any of them."""
    flat = [one for option in options for one in option.get("anyOf", [option])]
    about = {key: value for option in options for key, value in option.items() if key == "description"}
    distinct: list[dict[str, Any]] = []
    for one in ({key: value for key, value in option.items() if key != "description"} for option in flat):
        if one not in distinct:
            distinct.append(one)
    if {} in distinct:
        return about
    return {**(distinct[0] if len(distinct) == 1 else {"anyOf": distinct}), **about}


def types_of(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows; empty if it allows any."""
    options = schema.get("anyOf", [schema])
    names = {one.get("type", "string" if "enum" in one else "") for one in options}
    return set() if "" in names else names


def _overlaid(schema: Mapping[str, Any], annotation: Any) -> dict[str, Any]:
    """The schema of an overlay annotation if it has the type of the signature's schema, else the latter."""
    own, other = types_of(schema), of_type(annotation) or {}
    if own and not own & types_of(other):
        return dict(schema)
    return _any_of([other, {"type": "null"}]) if "null" in own else other


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    if default is None and types_of(schema):
        schema = _any_of([schema, {"type": "null"}])
    default = list(default) if isinstance(default, tuple) else default
    return {**schema, "default": default} if _is_json(default) else schema


def _is_json(value: Any) -> bool:
    """Whether a value can be serialized to JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True

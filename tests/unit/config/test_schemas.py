"""Settings are read from signatures: what a schema admits, that editors can use it, and when it is generated again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest

from src.bounds import Bounds, Count, Word
from src.config.schemas import of_file, of_group
from src.config.signatures import arguments, of_type
from src.config.validate import converted, problems
from src.paths import CONF
from tests.helpers.schemas import FILES, SCHEMAS, faults, named_schema


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_in_conf_is_valid_by_the_schema_that_it_names(path: Path):
    group = path.parent.name
    is_group = f"{group}.json" in SCHEMAS and "@package _global_" not in path.read_text()
    assert named_schema(path) == (f"{group}.json" if is_group else "config.json")
    assert faults(path) == []


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("optimizer/adam.yaml", {"lrr": 1e-3}),
        ("optimizer/adam.yaml", {"lr": 0}),
        ("optimizer/momentum.yaml", {"momentum": 1.0}),
        ("data/mnist.yaml", {"augment": {"shfit": 1}}),
        ("data/mnist.yaml", {"batch_size": 1.5}),
        ("trainer/cpu.yaml", {"accelerator": "tpu"}),
        ("callbacks/ema.yaml", {"ema": {"_target_": "src.callbacks.averaging.EMA", "decay": 1.0}}),
        ("experiment/article.yaml", {"optimizer": {"learning_rate": 0.1}}),
        ("experiment/article.yaml", {"sed": 1}),
        ("train.yaml", {"seed": -1}),
        ("callbacks/none.yaml", {"ema": 0.99}),
        ("hydra/launcher/processes.yaml", {"n_jobs": 0}),
        ("hydra/launcher/slurm.yaml", {"timeout_min": 0}),
        ("hydra/launcher/ray_cluster.yaml", {"ray": {"init": {"adress": "auto"}}}),
    ],
)
def test_an_editor_finds_misspelt_keys_and_values_out_of_range(file: str, changes: dict[str, object]):
    assert faults(CONF / file, **changes)
    references = {
        key: "${another.setting}" for key in changes if not isinstance(changes[key], dict) and key[-2:] != "rr"
    }
    assert "sed" in changes or not faults(CONF / file, **references)


class Supports(Protocol):
    def __call__(self) -> None: ...


class Colour(Enum):
    RED = 1


class Base:
    def __init__(self, depth: int = 1, *, kept: "NotImported" = None, **rest: float) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass


class Derived(Base):
    def __init__(self, *args: Any, width: Annotated[Count, "units"], depth: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_parameters_reach_through_kwargs_and_without_a_known_type_accept_anything():
    schema = arguments(Derived, omitted=["outputs"])
    assert schema == {
        "type": "object",
        "properties": {
            "width": {"type": "integer", "minimum": 1, "maximum": 1e9, "description": "units"},
            "depth": {"type": "boolean", "default": False},
            "kept": {"default": None},
        },
        "required": ["width"],
    }
    assert problems(schema, {"width": 1, "kept": [{"any": "thing"}], "other": 1}, "it") == []


def test_an_overlay_applies_to_parameters_of_the_same_type_and_leaves_null_allowed():
    def step(eps: float = 1e-8, betas: "float | None" = None, lr: tuple[float, float] = (1.0, 2.0), other=1):
        pass

    positive = Annotated[float, Bounds(gt=0), "above zero"]
    schema = arguments(step, overlay=dict.fromkeys(("eps", "betas", "lr", "other"), positive))["properties"]
    number = {"type": "number", "exclusiveMinimum": 0}
    assert schema["eps"] == {**number, "description": "above zero", "default": 1e-8}
    assert schema["betas"] == {"anyOf": [number, {"type": "null"}], "description": "above zero", "default": None}
    assert (schema["lr"]["type"], schema["lr"]["maxItems"]) == ("array", 2)
    assert schema["other"] == {**number, "description": "above zero", "default": 1}


@pytest.mark.parametrize(
    ("annotation", "accepted", "refused"),
    [
        (bool, [True], [1, "true", None]),
        (int, [1, 10**400], [True, 1.0, "1", None]),
        (float, [1, 0.5], [True, "1", float("inf"), float("nan"), 10**400]),
        (Count, [1], [0, -1]),
        (Word, ["a.b"], ["a b", "", 1, "x" * 65]),
        (int | None, [1, None], ["", 1.5]),
        (Literal["auto"] | Count, ["auto", 2], ["all", 0]),
        (list[Count], [[], [1]], [[0], 1, "1", None]),
        (Sequence[float], [[1, 2.5]], [["x"]]),
        (Iterable[str], [["a"]], [[1]]),
        (tuple[float, float], [[0.9, 1]], [[0.9], [1, 2, 3]]),
        (tuple[int, str], [[1, "a"]], [["a", 1]]),
        (tuple[int, ...], [[], [1, 2]], [["a"]]),
        (dict[str, int], [{"a": 1}], [{"a": "b"}, 1]),
        (Mapping[str, Any], [{"a": object}], [1]),
        (float | Base, [1.0], ["x"]),
        (Base, [1, "x", None], []),
        (None, [None], [0, ""]),
        (Path, ["a/b"], [1]),
        (Annotated[int, {"unhashable": 1}], [1], ["x"]),
        (Supports, [1, "x", None], []),
        (float | Literal[Colour.RED], [1.0], ["red"]),
        (Any, [1, "x", None], []),
    ],
)
def test_a_type_admits_its_values_without_conversion(annotation: Any, accepted: list[object], refused: list[object]):
    schema = {"properties": {"it": of_type(annotation) or {}}}
    assert [value for value in accepted if problems(schema, {"it": value}, "")] == []
    assert [value for value in refused if not problems(schema, {"it": value}, "")] == []


def test_an_integer_becomes_a_float_where_only_numbers_are_meant():
    schema = {"properties": {"a": of_type(list[float]), "b": of_type(int | float), "c": of_type(float | None), "d": {}}}
    values = converted({"a": [1, 2.0], "b": 1, "c": 3, "d": 4}, schema)
    assert json.dumps(values) == '{"a": [1.0, 2.0], "b": 1, "c": 3.0, "d": 4}'


def test_a_file_may_refer_to_other_settings_and_values_may_not():
    schema = of_group("optimizer")["torch.optim.Adam"]
    assert problems(schema, {"lr": "${other}"}, "optimizer") == ["optimizer.lr='${other}' must be a finite number."]
    assert "${" in json.dumps(of_file(schema)) or "reference" in json.dumps(of_file(schema))

"""Filters over runs."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ConfigError
from src.records.filters import Filter, value_of, values_of
from src.records.record import Record
from tests.helpers.runs import three

__all__ = ["three"]


# Filters


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("optimizer.lr<0.01 and status=='done'", [0]),
        ("optimizer.lr<0.01", [0, 2]),
        ("status==done", [0, 1]),
        ("done", [0, 1]),
        ("not done", [2]),
        ("failed or optimizer==sgd", [1, 2]),
        ("optimizer == sgd", [1]),
        ("val/acc >= 0.9", [0]),
        ("0.85 < val/acc < 0.95", [0]),
        ("val/acc > 0.95 or test/acc < 0.8", [1]),
        ("'wide' in tags", [0]),
        ("wide in tags", [0]),
        ("'wide' not in tags", [1, 2]),
        ("status in [done, failed] and name==mine", [2]),
        ("name == null", [0, 1]),
        ("name != null", [2]),
        ("model.hidden == [16]", [1]),
        ("duration > 11s", [2]),
        ("duration < 1m and age > 2h", [0, 1, 2]),
        ("started > '2026-01-01T00:00:01'", [1, 2]),
        ("error != null", [2]),
        ("'note' in note", [1]),
        ("val/acc > -1", [0, 1]),
        ("model.norm == null", [0, 1, 2]),
        ("optimizer.fused == true", [0, 1, 2]),
        ("best/val/acc >= 0.9", [0]),
        ("best/val/acc < 0.85 or best < 0.85", [1]),
        ("pruned", []),
    ],
)
def test_a_filter_chooses(three: list[Record], text: str, chosen: list[int]):
    assert Filter(text).choose(three) == [three[number] for number in chosen]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizr.lr < 1", "did you mean 'optimizer.lr'"),
        ("optimizer.lr <", "cannot be read"),
        ("", "cannot be read"),
        ("val/acc < 'high'", "cannot be compared"),
        ("__import__('os').system('touch /tmp/owned')", "neither a name nor a value"),
        ("status.__class__ == 1", "no run has"),
        ("(lambda: 1)() == 1", "neither a name nor a value"),
        ("[x for x in tags] == 1", "neither a name nor a value"),
        ("val/acc ** 99999999 > 1", "neither a name nor a value"),
        ("f'{status}' == 1", "neither a name nor a value"),
        ("not " * 200 + "done", "cannot be read|too deeply"),
        ("done and " * 200 + "done", "at most 1,000"),
    ],
)
def test_what_is_no_filter_is_refused_in_a_sentence(three: list[Record], text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        Filter(text).choose(three)


def test_a_value_that_is_looked_up_alone_is_the_same(three: list[Record]):
    three[0].values["config"]["init_from"] = {"run": "r1", "path": None, "strict": True}
    three[1].values["config"]["callbacks"]["watch"]["monitor"] = "val/loss"  # another than that of the run
    three[2].values["imported"] = {"kind": "mlflow"}
    for record in three:
        every = values_of(record)
        assert len(every) > 50
        for name in every.keys() - {"age"}:
            assert values_of(record, [name]) == {name: every[name]}
            assert value_of(record, name) == every[name]
        assert values_of(record, ["optimizer.lrr"]) == {}


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_an_error_for_people(text: str):
    record = Record(Path("."), {"id": "r1", "name": None, "tags": [], "status": "done", "config": {"seed": 1}})
    record.values |= {"command": "", "error": None}
    record.values |= {"environment": {}, "started": "2026-01-01T00:00:00+00:00", "duration_s": 1.0, "metrics": {}}
    record.values |= {"best": {"metric": None, "value": None, "epoch": None, "checkpoint": None}, "sweep": None}
    with contextlib.suppress(ConfigError):
        Filter(text).choose([record])

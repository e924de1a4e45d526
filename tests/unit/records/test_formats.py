"""Records of an earlier version of the project: listed, shown and tidied away; never rebuilt."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import src.evaluate
import src.explain
import src.export
import src.predict
import src.runs.__main__
from src.records.record import FORMAT, Record
from tests.conftest import MakeRun
from tests.helpers.formats import of_format_1


def test_a_new_record_tells_its_format(make_run: MakeRun):
    record = make_run("seed=1")
    assert json.loads((record.directory / "run.json").read_text())["format"] == FORMAT == 3
    assert of_format_1(record).format == 1


COMMANDS: dict[str, Callable[[str], int]] = {
    "evaluate": lambda run: src.evaluate.main([run]),
    "calibrate": lambda run: src.evaluate.main([run, "--calibrate"]),
    "predict": lambda run: src.predict.main([run, "docs/digits/7-plain.png"]),
    "export": lambda run: src.export.main([run, "--format", "pt2"]),
    "explain": lambda run: src.explain.main([run]),
    "reproduce": lambda run: src.runs.__main__.main(["reproduce", run, "--run"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_would_rebuild_an_earlier_run_ends_with_one_message(
    make_run: MakeRun, capfd: pytest.CaptureFixture[str], name: str
):
    record = of_format_1(make_run("seed=1"))
    assert COMMANDS[name](str(record.directory)) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(
        f"error: {record.values['id']} was made by an earlier version of this project (format 1, here 3)"
    )


@pytest.mark.parametrize("value", ["two", 2.5, None])
def test_a_format_that_is_no_integer_is_no_records(make_run: MakeRun, value: object):
    path: Path = make_run("seed=1").directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": value}))
    with pytest.raises(ValueError, match="its format is"):
        Record.load(path.parent)

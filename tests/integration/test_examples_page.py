"""docs/your-own.md: what it shows is what the files contain."""

import shlex
import tomllib

import yaml

from src.config.command_line import parse
from src.config.compose import preflight
from src.config.targets import SUPPLIED
from src.paths import CONF, ROOT
from tests.helpers.your_own import COMMANDS, PAGE, blocks


def test_its_blocks_are_in_the_files():
    [toml] = blocks("toml")
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tomllib.loads(toml)["tool"]["tracking"] == table["tool"]["tracking"]
    [experiment] = blocks("yaml")
    file = (CONF / "experiment" / "example_autoencoder.yaml").read_text()
    assert yaml.safe_load(experiment) == yaml.safe_load(file)
    [test] = blocks("python")
    assert test in (ROOT / "tests" / "integration" / "test_examples.py").read_text()


def test_its_table_has_every_parameter_of_tasks_and_data():
    names = {*SUPPLIED["task"], *SUPPLIED["data"], *SUPPLIED["model"]}
    assert not {name for name in names if f"`{name}`" not in PAGE}


def test_its_trainings_compose():
    words = [shlex.split(line)[3:] for line in COMMANDS if line.startswith("python -m src.train ")]
    assert len(words) > 6
    for line in words:
        preflight(parse(line))

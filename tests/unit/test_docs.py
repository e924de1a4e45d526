"""README: its files and commands."""

import re
import shlex

from tests.helpers.readme import FILES, README


def test_readme_shows_one_of_each_kind():
    assert set(FILES) == {
        "conf/optimizer/radam.yaml",
        "src/models/cnn.py",
        "conf/model/cnn.yaml",
        "src/data/stripes.py",
        "conf/data/stripes.yaml",
        "src/callbacks/shout.py",
        "conf/callbacks/shout.yaml",
    }


def test_the_commands_of_readme_are_understood():
    from src.config.command_line import parse
    from src.config.compose import preflight
    from src.training.resume import split_resume

    commands = re.findall(r"^python -m src\.train\b([^\n#]*)", README, re.MULTILINE)
    assert len(commands) >= 6
    for words in commands:
        line = parse(shlex.split(words))
        if line.asks is None and split_resume(line)[0] is None:
            preflight(line)

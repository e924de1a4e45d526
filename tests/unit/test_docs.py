"""README and the guides: their files, commands and links."""

import re
import shlex
from pathlib import Path

import pytest

from src.paths import ROOT
from tests.helpers.readme import FILES, TEXT


def test_the_guides_show_one_of_each_kind():
    assert set(FILES) == {
        "conf/optimizer/radam.yaml",
        "src/models/cnn.py",
        "conf/model/cnn.yaml",
        "src/data/stripes.py",
        "conf/data/stripes.yaml",
        "src/callbacks/shout.py",
        "conf/callbacks/shout.yaml",
    }


def test_the_commands_of_the_guides_are_understood():
    from src.config.command_line import parse
    from src.config.compose import preflight
    from src.training.resume import split_resume

    commands = re.findall(r"^python -m src\.train\b([^\n#]*)", TEXT, re.MULTILINE)
    assert len(commands) >= 20
    for words in commands:
        line = parse(shlex.split(words))
        if line.asks is None and split_resume(line)[0] is None:
            preflight(line)


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text())
    missing = [link for link in links if not link.startswith("http") and not Path(folder, link).exists()]
    assert not missing


def test_every_page_is_linked():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = {
        Path(page.parent, link).resolve() for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text())
    }
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.resolve() not in links] == []

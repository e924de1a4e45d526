"""docs/architecture.md names functions that exist, and src/__init__.py the packages that do."""

import ast
import re
from itertools import pairwise

import pytest

import src
from src.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


JOURNEYS = re.findall(r"^\*\*(.+?)\*\*\n\n(.+?)\n\n", PAGE, flags=re.M | re.S)


def defined_in(path: str) -> set[str]:
    """Every function, class and method of a file, methods as Class.method."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def places(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(src/[\w/]+\.py):([\w.]+)`", text)


def test_every_function_that_the_page_names_exists():
    named = places(PAGE)
    assert len(named) > 20
    missing = [f"{path}:{name}" for path, name in named if name not in defined_in(path)]
    assert not missing


def test_there_are_three_journeys():
    assert [title.partition(",")[0] for title, _ in JOURNEYS] == ["`optimizer.lr=0.05`", "A batch", "A metric"]


def test_the_learning_rate_returns_to_no_file():
    files = [path for path, _ in places(JOURNEYS[0][1])]
    visits = [path for path, following in pairwise([*files, ""]) if path != following]
    assert len(visits) == len(set(visits))


@pytest.mark.parametrize("text", [src.__doc__, PAGE])
def test_every_package_is_named(text: str):
    packages = {path.parent.name for path in (ROOT / "src").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"\w+", text))

"""README and the guides: their files, commands and links."""

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from docs.generate import DOCS, PROJECT, pages, relinked
from src.config.compose import CHOICES
from src.config.schemas import of_group
from src.config.targets import MANY, ONE
from src.paths import CONF, ROOT
from tests.helpers.readme import FILES


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


# The commands of published.md need the packages that it describes.
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.stem != "published")]


def commands(page: str, module: str) -> list[str]:
    """The arguments of each ``python -m src.<module>`` in the page's code blocks, without comments and redirections."""
    text = (ROOT / page).read_text().replace("\\\n", " ")
    return sorted(set(re.findall(rf"^ *python -m src\.{module}\b([^\n#|]*?)(?: < .*| *#.*)?$", text, re.MULTILINE)))


@cache  # several pages have the same commands
def check_training(words: str) -> None:
    from src.config.command_line import parse
    from src.config.compose import preflight
    from src.training.resume import split_resume

    line = parse(shlex.split(words))
    if line.asks is None and split_resume(line)[0] is None:
        preflight(line)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "train")])
def test_training_commands_are_valid(page: str):
    for words in commands(page, "train"):
        check_training(words.strip())


@pytest.mark.parametrize("name", ["runs", "dashboard", "evaluate", "predict", "export", "explain"])
def test_other_commands_are_valid(name: str):
    module = importlib.import_module(f"src.{name}.__main__" if name in ("runs", "dashboard") else f"src.{name}")
    found = [shlex.split(words) for page in PAGES for words in commands(page, name)]
    assert found
    for words in found:  # the parser of runs has subcommands, which cannot be intermixed
        parser = module.build_parser()
        parser.parse_args(words) if name == "runs" else parser.parse_intermixed_args(words)


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
    pages_of_docs = set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "index.md"}
    assert [page.name for page in pages_of_docs if page.resolve() not in links] == []


def test_anchors_exist():
    def anchors(page: Path) -> set[str]:
        headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}

    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for link, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text()):
            assert anchor in anchors(page.parent / link if link else page), f"{page.name}: {link}#{anchor}"


def test_every_image_is_shown_or_linked():
    text = "\n".join(page.read_text() for page in [ROOT / "README.md", *DOCS.glob("*.md")])
    images = [path.relative_to(DOCS) for pattern in ("*.png", "*.jpg") for path in DOCS.glob(pattern)]
    assert [image.name for image in images if f"{image})" not in text] == []


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("group", [*CHOICES, "hydra/launcher"])
def test_the_reference_describes_every_choice(group: str, generated: dict[str, str]):
    page = generated[f"reference/{group.partition('/')[0]}.md"]
    headings = re.findall(r"^## `(.*)`$", page, re.MULTILINE)
    assert {f"{group}={path.stem}" for path in (CONF / group).glob("*.yaml")} <= set(headings)


@pytest.mark.parametrize("group", [*ONE, *MANY, "trainer"])
def test_the_reference_describes_every_setting(group: str, generated: dict[str, str]):
    text = "\n".join(generated.values())  # debug=profile has a callback of its own
    for target, schema in of_group(group).items():
        described = {key: one.get("description", "") for key, one in schema["properties"].items() if key != "_target_"}
        for key, description in described.items():
            assert re.search(rf"^\| `\+?{group}\.[\w.]*\b{key}\b.*` \|", text, re.MULTILINE), f"{target}: {key}"
            assert description.partition("[")[0] in text.replace("\\", ""), f"{target}: {key}"


def test_the_reference_describes_the_settings_of_the_run(generated: dict[str, str]):
    for key in of_group("config")["run"]["properties"]:
        assert f"| `{key}` |" in generated["reference/settings.md"]


def test_the_reference_describes_every_command():
    modules = [path for path in (ROOT / "src").rglob("*.py") if '__name__ == "__main__"' in path.read_text()]
    commands = {f"python -m {'.'.join(path.relative_to(ROOT).with_suffix('').parts)}" for path in modules}
    described = re.findall(r":title: (.*)", (DOCS / "commands.md").read_text())
    for_contributors = {"python -m src.config.schemas"}  # make schemas
    assert {command.removesuffix(".__main__") for command in commands} == set(described) | for_contributors


def test_links_between_pages_of_the_root_and_of_docs_lead_to_the_pages_of_the_site():
    page = DOCS / PROJECT["CONTRIBUTING.md"]
    links = (
        "[one](docs/data.md#splits), [two](SECURITY.md), [three](https://example.org), [four](#here), [five](examples/)"
    )
    site = "[one](../data.md#splits), [two](security.md), [three](https://example.org), [four](#here), five"
    assert relinked(links, ROOT / "CONTRIBUTING.md", page) == site
    results = DOCS / "results.md"
    assert relinked("[all](../benchmarks/results.md)", results, results) == "[all](project/benchmarks.md)"

"""Pages of the site that are generated when it is built: the settings of every choice in conf/, and the files of the root.

The site consists of these pages, written to ``docs/reference/`` and ``docs/project/``, and of the files in ``docs/``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.config.compose import CHOICES, register_resolvers
from src.config.schemas import of_group, schema_of
from src.config.settings_help import Setting, settings
from src.config.targets import GROUPS, MANY
from src.files import write
from src.paths import CONF, ROOT
from src.records.settings import as_word

DOCS = ROOT / "docs"
# Files outside docs/ that are pages of the site.
PROJECT = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/results.md": "project/benchmarks.md",
}
_HYDRA = """# Launchers and sweepers

A launcher runs the jobs of a sweep (`-m`), and a sweeper chooses them. Both are groups of Hydra: `hydra/launcher=NAME` and
`hydra/sweeper=NAME` choose one, and their settings are `hydra.launcher.KEY` and `hydra.sweeper.KEY`.

## `hydra/sweeper=optuna`

```{eval-rst}
.. autoclass:: hydra_plugins.optuna_sweeper.OptunaSweeperConf
   :no-index:
```
"""


def write_pages() -> None:
    """Write the generated pages; files that are up to date keep their modification time, and others there are removed."""
    generated = pages()
    for name, text in generated.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            write(path, text)
    for folder in {(DOCS / name).parent for name in generated}:
        for path in folder.iterdir():
            if str(path.relative_to(DOCS)) not in generated:
                path.unlink()


def pages() -> dict[str, str]:
    """The text of each generated page, by its path in ``docs/``."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        usual = compose("train", return_hydra_config=True)
        found = {"reference/settings.md": _overview(usual)}
        found |= {f"reference/{group}.md": "\n".join(_group(group, usual)) for group in CHOICES}
    found["reference/hydra.md"] = "\n".join(
        [_HYDRA, *(_source("hydra/launcher", name) for name in _names("hydra/launcher"))]
    )
    for name, page in PROJECT.items():
        found[page] = relinked((ROOT / name).read_text(encoding="utf-8"), ROOT / name, DOCS / page)
    return found


def relinked(text: str, source: Path, page: Path) -> str:
    """Adapt the links of a Markdown file to the site: links to the files of ``PROJECT`` lead to their pages, links to directories
    become plain text.

    Args:
        text: Markdown.
        source: the file, to whose directory the links are relative.
        page: where the site has it.
    """

    def replace(match: re.Match[str]) -> str:
        link, fragment = match["link"], match["fragment"] or ""
        path = Path(os.path.normpath(source.parent / link))
        if "://" in link or link.startswith("mailto:") or not path.exists():
            return match[0]
        if path.is_dir():
            return match["text"]
        name = str(path.relative_to(ROOT))
        target = os.path.relpath(DOCS / PROJECT[name] if name in PROJECT else path, page.parent)
        return f"[{match['text']}]({target}{fragment})"

    return re.sub(r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?P<link>[^)#\s]+)(?P<fragment>#[^)\s]*)?\)", replace, text)


def _overview(usual: DictConfig) -> str:
    config = OmegaConf.masked_copy(usual, [str(key) for key in usual if key != "hydra"])
    run = {key: value for key, value in _plain(config, resolve=True).items() if key not in GROUPS}
    return "\n".join(
        [
            "# Settings",
            "",
            "Every setting can be changed on the command line or in a YAML file, as in `seed=3` or `optimizer.lr=0.05`. These are",
            "the settings of the run itself; each group has a page with the settings of all its choices. A setting with a `+` is",
            "not in the choice's file: it has the default of the constructor, and the `+` is needed to change it. `???` must be set,",
            "and `${monitor}` is the value of that setting. `python -m src.train --help optimizer=sgd` prints the same.",
            "",
            *_table(settings(of_group("config")["run"], run, "")),
            "",
            "```{toctree}",
            ":maxdepth: 1",
            ":titlesonly:",
            "",
            *CHOICES,
            "hydra",
            "```",
            "",
        ]
    )


def _group(group: str, usual: DictConfig) -> Iterator[str]:
    """The lines of a group's page: a section for each choice, the default first."""
    default = usual.hydra.runtime.choices.get(group)
    yield f"# {group}"
    yield ""
    yield f"`{group}=NAME` chooses one; {f'the default is `{default}`' if default else 'by default there is none'}."
    names = sorted(_names(group), key=lambda name: name != default)
    documented: dict[str, _Documented] = {}
    for name in names:
        if _is_global(group, name):
            yield _source(group, name)
            content = _plain(OmegaConf.load(CONF / group / f"{name}.yaml"))
            for many in MANY:  # such as the callback of debug=profile, which no other file has
                for one, values in content.get(many, {}).items():
                    if "_target_" in values:
                        yield from _node(many, name, one, values, {})
            continue
        yield from ["", _target(group, name), f"## `{group}={name}`", "", *_comment(group, name)]
        composed = _plain(compose("train", overrides=[f"{group}={name}"]))[group]
        nodes = composed if group in MANY else {"": composed}
        # A callback that has a file of its own is documented there, and others where they occur first.
        elsewhere = {one: one for one in nodes if one in names and one != name}
        elsewhere |= {one: documented[one].name for one in nodes if one and one in documented and one not in elsewhere}
        if elsewhere:
            links = [f"[{one}](#settings-{group}-{section})" for one, section in elsewhere.items()]
            yield from ["", f"It contains {', '.join(links)}."]
        for one, values in nodes.items():
            if one not in elsewhere:
                yield from _node(group, name, one, values, documented)
    yield ""


class _Documented(NamedTuple):
    """The section that lists all settings of a class: its choice, and the value of each setting."""

    name: str
    values: dict[str, Any]


def _node(
    group: str, name: str, one: str, values: Mapping[str, Any], documented: dict[str, _Documented]
) -> Iterator[str]:
    """The lines of an object: all its settings, or those that differ from the section that lists them all.

    Args:
        group: the config group.
        name: the choice.
        one: the name of the object, in a group of several.
        values: its configured values.
        documented: the section of each object, by its name, or by its class where there is one only; changed.
    """
    target = values.get("_target_", "lightning.pytorch.Trainer")
    if target == "???":
        return
    prefix = f"{group}.{one}." if one else f"{group}."
    schema = of_group("trainer")["trainer"] if group == "trainer" else schema_of(target, group)
    found = list(settings(schema, values, prefix))
    about = f"`{prefix[:-1]}`: `{target}`" if one else f"`{target}`"
    key = one or target
    if key in documented:
        section, before = documented[key]
        found = [setting for setting in found if before.get(setting.key) != setting.value]
        about += f", as in [{group}={section}](#settings-{group}-{section}){' except for' if found else ''}"
    else:
        documented[key] = _Documented(name, {setting.key: setting.value for setting in found})
    yield from ["", f"{about}{':' if found else '.'}", ""]
    if found:
        yield from _table(found)


def _table(found: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | default | allowed | description |"
    yield "| --- | --- | --- | --- |"
    for one in found:
        key = f"`{'' if one.is_configured else '+'}{one.key}`"
        yield f"| {key} | {_code(as_word(one.value))} | {_escaped(one.allowed)} | {_escaped(one.description)} |"


def _code(word: str) -> str:
    return f"`{word}`".replace("|", r"\|")


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_<\[\]|`])", r"\\\1", text)


def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _lines(group: str, name: str) -> list[str]:
    """The lines of a choice's file, without the one for editors."""
    text = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("# yaml-language-server:")]


def _is_global(group: str, name: str) -> bool:
    """Whether a choice sets values of several groups."""
    return _lines(group, name)[0].startswith("# @package _global_")


def _target(group: str, name: str) -> str:
    """The target of links to a choice's section."""
    return f"(settings-{group.replace('/', '-')}-{name})="


def _comment(group: str, name: str) -> Iterator[str]:
    """The comment with which a choice's file begins, as text."""
    for line in _lines(group, name):
        if not line.startswith("#"):
            return
        if not line.startswith("# @package"):
            yield _escaped(line.removeprefix("#").strip())


def _source(group: str, name: str) -> str:
    """The section of a choice that is shown as its file."""
    comment = list(_comment(group, name))
    content = [line for line in _lines(group, name) if not line.startswith("#")]
    head = ["", _target(group, name), f"## `{group}={name}`", "", *comment, ""]
    return "\n".join([*head, "```yaml", *content, "```", ""])


def _plain(config: DictConfig | ListConfig, resolve: bool = False) -> dict[str, Any]:
    """Plain values, with interpolations as text unless they are resolved."""
    plain = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}

"""Where people work: the editor's settings, the development container, the images and the workflows name what exists."""

import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.paths import CONF, ROOT
from tests.helpers.schemas import FILES, SCHEMAS, faults, named_schema

MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE)
DEV_CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
SETTINGS = json.loads((ROOT / ".vscode/settings.json").read_text())
LAUNCH = json.loads((ROOT / ".vscode/launch.json").read_text())["configurations"]
GITHUB = sorted(path for path in (ROOT / ".github").rglob("*.yml") if "ISSUE_TEMPLATE" not in path.parts)


def mapped(patterns: str | list[str]) -> set[Path]:
    """The files of conf/ that patterns of yaml.schemas match; those after ! are left out."""
    files = set[Path]()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if pattern[0] == "!":
            files -= set(ROOT.glob(pattern[1:]))
        else:
            files |= set(ROOT.glob(pattern))
    return files


MAPPED = {Path(schema).name: mapped(patterns) for schema, patterns in SETTINGS["yaml.schemas"].items()}


def steps(path: Path) -> list[dict[str, Any]]:
    """The steps of a workflow or of an action."""
    content = yaml.safe_load(path.read_text())
    jobs = [content["runs"]] if "runs" in content else content.get("jobs", {}).values()
    return [step for job in jobs for step in job["steps"]]


def test_the_editor_applies_to_each_file_in_conf_the_schema_that_the_file_names():
    assert MAPPED.keys() == SCHEMAS.keys()
    applied = {path: [name for name, files in MAPPED.items() if path in files] for path in FILES}
    assert applied == {path: [named_schema(path)] for path in FILES}


@pytest.mark.parametrize("schema", MAPPED)
def test_the_editor_marks_an_unknown_key(schema: str):
    first = min(path for path in MAPPED[schema] if path.stem not in ("custom", "none"))
    assert faults(first) == []
    assert faults(first, unknown_key=1)


@pytest.mark.parametrize("launch", LAUNCH, ids=lambda launch: launch["name"])
def test_launch_configurations_can_be_started(launch: dict[str, Any], compose: Any):
    from src.config.command_line import parse
    from src.config.compose import preflight
    from src.training.resume import split_resume

    assert importlib.util.find_spec(launch["module"])
    if launch["module"] == "src.train":
        line = parse(launch["args"])
        assert split_resume(line)[0] == "latest" or preflight(line)


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: str(path.relative_to(ROOT)))
def test_workflows_name_what_exists(path: Path):
    for step in steps(path):
        if step.get("uses", "").startswith("./"):
            assert (ROOT / step["uses"] / "action.yml").is_file()
        assert targets(step.get("run", "")) <= defined_targets()
        scripts = [words[0] for line in step.get("run", "").splitlines() if (words := shlex.split(line))]
        assert all((ROOT / script).is_file() for script in scripts if "/" in script)


def targets(command: str) -> set[str]:
    return set(re.findall(r"\bmake ([\w-]+)", command))


def defined_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_workflows_may_only_read_the_repository():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        content = yaml.safe_load(path.read_text())
        assert content["permissions"] == {"contents": "read"}
        granted = {name: job["permissions"] for name, job in content["jobs"].items() if "permissions" in job}
        assert granted in ({}, {"deploy": {"pages": "write", "id-token": "write"}})


def test_every_supported_version_of_python_is_tested():
    [lower, upper] = re.findall(
        r"3\.(\d+)", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    versions = [f"3.{minor}" for minor in range(int(lower), int(upper))]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    assert f"python:{versions[-1]}-slim" in DOCKERFILE


def test_the_development_container_is_built_from_the_dockerfile():
    build = DEV_CONTAINER["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert build["target"] in STAGES
    assert f"WORKDIR {DEV_CONTAINER['workspaceFolder']}\n" in DOCKERFILE
    assert targets(DEV_CONTAINER["postCreateCommand"]) <= defined_targets()


def test_the_image_contains_what_a_run_reads_and_nothing_else():
    ignored, *patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert ignored == "*"
    admitted = [pattern[1:] for pattern in patterns if pattern[0] == "!"]
    assert all(any(ROOT.glob(pattern)) for pattern in admitted)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages | {CONF.name, "hydra_plugins", "pyproject.toml"} <= set(admitted)


def test_pre_commit_runs_what_make_lint_runs():
    [repo] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert lint
    commands = {line.strip().replace("$(BIN)", ".venv/bin") for line in lint[1].splitlines()}
    hooks = {hook["entry"] + (" ." if hook.get("pass_filenames", True) else "") for hook in repo["hooks"]}
    assert hooks == {re.sub(r"(ruff check)", r"\1 --fix", command.replace(" --check .", " .")) for command in commands}

"""Preflight: what is wrong is said in a sentence, with the nearest right spelling, before torch is imported."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config.command_line import parse
from src.config.compose import preflight
from src.config.targets import GROUPS
from src.paths import CONF, ROOT
from tests.conftest import Command, MakeRun, copy_of_the_project
from tests.helpers.preflight import KEYS, Preflight, keys, misspelt, nested


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preflight]:
    with Preflight(tmp_path_factory.mktemp("preflight") / "project") as preflight_of_copy:
        yield preflight_of_copy


@pytest.mark.parametrize("depth", range(3))
def test_every_key_misspelt_in_a_yaml_file_is_refused_by_name(depth: int, project: Preflight):
    wrong = [misspelt(key) for key in KEYS if key.count(".") == depth]
    lines = project.refusal_of_experiment(nested(*wrong)).splitlines()
    assert sorted(re.split("[:=]", line)[0] for line in lines) == sorted(wrong)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["data.train_size=55001"], ["data.train_size=55001 must be at most 55000"]),
        (["optimizer=sgd", "optimizer.nesterov=true"], ["optimizer: Nesterov momentum requires a momentum"]),
        (["schedule.warmup_epochs=11"], ["schedule: warmup_epochs=11 must be at most trainer.max_epochs=10."]),
        (["optimizer=muon", "model=linear"], ["optimizer: Muon optimizes hidden layers, and this network has none"]),
        (["task.loss=squared_error", "task.label_smoothing=0.1"], ["task.label_smoothing=0.1 requires task.loss="]),
        (
            ["callbacks=pruning", "callbacks.pruning.start_epoch=2", "schedule.warmup_epochs=11"],
            ["schedule: warmup_epochs=11", "callbacks.pruning: end_epoch=1 must be at least start_epoch=2."],
        ),
        (
            ["callbacks=[pruning,ema]"],
            ["callbacks: pruning sets weights to zero, and an average of them is not: leave one of the two out."],
        ),
    ],
)
def test_objects_that_cannot_be_built_are_refused_before_anything_is_written(
    here: Command, words: list[str], lines: list[str]
):
    done = here("train", *words)
    assert done.status == 2
    assert not done.outputs.exists()
    errors = done.stderr.splitlines()
    assert [error for error, line in zip(errors, lines, strict=True) if f"error: {line}" not in error] == []


def test_pythons_optimized_mode_is_refused_as_hydra_cannot_parse_in_it():
    words = [sys.executable, "-O", "-m", "src.train", "-m", "seed=range(1,3)"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "unset PYTHONOPTIMIZE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("group", "text", "words", "said"),
    [
        ("data", "val_size: 1", ["debug=one_batch"], "data.batch_size is missing, and data.train_size refers to it"),
        ("schedule", "warmup_epochs: 1.0", [], "schedule.step_size is missing"),
        ("model", "hidden: ???", [], "model.hidden is missing"),
    ],
)
def test_a_setting_that_a_file_lacks_is_named_by_its_dotted_key(
    group: str, text: str, words: list[str], said: str, project: Preflight
):
    targets = {"data": "src.data.points.Points", "model": "src.models.mlp.MLP", "schedule": "src.optim.schedules.step"}
    (project.conf / group / "mine.yaml").write_text(f"_target_: {targets[group]}\n{text}\n")
    sentence = project.refusal(f"{group}=mine", *words)
    assert said in sentence
    assert len(sentence.splitlines()) == 1


def test_a_data_class_without_its_classes_is_refused_before_anything_is_written(tmp_path: Path):
    project = copy_of_the_project(tmp_path / "project")
    (project / "src" / "data" / "mine.py").write_text(
        "from src.data.module import TensorData\n\n\nclass Mine(TensorData):\n    input_shape = (2,)\n"
    )
    (project / "conf" / "data" / "mine.yaml").write_text("_target_: src.data.mine.Mine\nval_size: 2\nbatch_size: 2\n")
    done = subprocess.run(
        [sys.executable, "-m", "src.train", "data=mine"],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(tmp_path / "outputs")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "error: data._target_=src.data.mine.Mine: the class must define classes, load.\n"
    assert not (tmp_path / "outputs").exists()


def test_a_tilde_in_a_path_is_the_home_directory(make_run: MakeRun, here: Command, tmp_path: Path):
    make_run(events=True)
    done = here("runs", "export", "-o", "~/points.csv", HOME=str(tmp_path), OUTPUTS_DIR="~/outputs")
    assert done.status == 0, done.stderr
    assert "of 1 runs" in done.stdout
    assert (tmp_path / "points.csv").is_file()
    unknown = here("runs", "ls", OUTPUTS_DIR="~nobody-here/x")
    assert (unknown.status, unknown.stderr.count("\n")) == (2, 1)
    assert "there is no user 'nobody-here'" in unknown.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hydra: {callbacks: {x: {_target_: os.system, command: 'true'}}}", "hydra.callbacks"),
        ("callbacks: foo", "callbacks"),
        ("logger: [1]", "experiment/typo"),
        ("a: [1", "typo.yaml, line"),
        ("a: 1\na: 2", "duplicate"),
        ("x: !!python/object/apply:os.system ['true']", "typo.yaml, line"),
    ],
)
def test_a_bad_yaml_file_is_refused_in_a_sentence(text: str, said: str, project: Preflight):
    assert said in project.refusal_of_experiment(text)


def test_an_experiment_without_its_first_line_is_told_so(project: Preflight):
    (project.conf / "experiment" / "typo.yaml").write_text("seed: 3\n")
    assert "# @package _global_" in project.refusal("experiment=typo")


@pytest.mark.parametrize("words", [["--help"], ["optimizer=adm"], ["optimizer.lr=-1"], ["--cfg", "job"]])
def test_help_and_refusals_import_no_torch_and_write_nothing(words: list[str], tmp_path: Path):
    code = f"""
import sys
from src.train import main
try:
    status = main({words!r})
except SystemExit as end:
    status = end.code
heavy = [name for name in ("torch", "lightning", "torchvision") if name in sys.modules]
sys.exit(f"imported {{heavy}}" if heavy else status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"OUTPUTS_DIR": str(tmp_path / "outputs")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if words[0].startswith("--") else 2), done.stderr
    assert not (tmp_path / "outputs").exists()


def test_help_lists_every_choice_and_every_setting_with_its_bounds_in_eighty_columns(here: Command):
    done = here("train", "--help")
    assert done.status == 0, done.stderr
    for group in (*GROUPS, "experiment"):
        for path in (CONF / group).glob("*.yaml"):
            assert path.stem in done.stdout
    [config] = preflight(parse([]))
    words = {line.split("=")[0].strip() for line in done.stdout.splitlines() if "=" in line}
    assert {key for key in keys(config) if not key.endswith("_target_")} - {*GROUPS, "data.augment"} - words <= {
        f"callbacks.{name}" for name in config["callbacks"]
    } | {"logger.tensorboard"}
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_help_with_overrides_describes_the_settings_of_their_groups(here: Command):
    shown = here("train", "--help", "optimizer=sgd", "optimizer.lr=0.5", "schedule.warmup_epochs=1").stdout
    assert re.search(r"^  optimizer.lr=0.5 +learning rate \(> 0\)$", shown, re.MULTILINE)
    assert re.search(r"^  \+optimizer.dampening=0 +dampening of the momentum \(0 to 1\)$", shown, re.MULTILINE)
    assert set(re.findall(r"^  \+?(\w+)\.\w+=", shown, re.MULTILINE)) == {"optimizer", "schedule"}
    for words in (["experiment=article"], ["seed=1"]):  # which may concern any group
        assert "  trainer.max_epochs=" in here("train", "--help", *words).stdout


def test_a_part_of_the_configuration_that_does_not_exist_is_refused_in_one_line(here: Command):
    for part, hint in (
        ("optimzer", "; did you mean 'optimizer'?"),
        ("optimizer.l", "; did you mean 'lr'?"),
        ("x", "."),
    ):
        done = here("train", "--cfg", "job", "-p", part)
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr == f"error: --package {part}: the configuration has no such part, or it is null{hint}\n"

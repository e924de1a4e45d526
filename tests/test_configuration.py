"""Preflight: what is wrong is said in a sentence, with the nearest right spelling, before torch is imported."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config.command_line import parse, points, quoted_override
from src.config.compose import help_text, make_plan, preflight
from src.config.targets import GROUPS
from src.errors import ConfigError
from src.paths import CONF, ROOT
from src.records.find import check_name
from src.training.check import check_targets
from tests.conftest import Command, MakeRun, copy_of_the_project
from tests.preflight import KEYS, Preflight, keys, misspelt, nested, refusal


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preflight]:
    with Preflight(tmp_path_factory.mktemp("preflight") / "project") as preflight_of_copy:
        yield preflight_of_copy


def test_the_default_configuration_composes_and_passes():
    [config] = preflight(parse([]))
    assert config["monitor"] == "val/acc"
    assert config["mode"] == "max"
    assert config["model"]["hidden"] == [128, 64]


@pytest.mark.parametrize(
    "choice",
    sorted(
        f"{path.parent.name}={path.stem}" for group in (*GROUPS, "experiment") for path in (CONF / group).glob("*.yaml")
    ),
)
def test_every_choice_of_every_group_composes(choice: str):
    [config] = preflight(parse([choice]))
    check_name(config["name"])


@pytest.mark.parametrize("key", KEYS)
def test_a_key_misspelt_on_the_command_line_is_refused_by_name(key: str):
    wrong = misspelt(key)
    for plus in ("", "+"):
        sentence = refusal(f"{plus}{wrong}=1")
        assert wrong in sentence
        assert key.rpartition(".")[2] in sentence  # the right spelling is suggested


@pytest.mark.parametrize("key", KEYS)
def test_a_key_misspelt_in_a_yaml_file_is_refused_by_name(key: str, project: Preflight):
    assert misspelt(key) in project.refusal_of_experiment(nested(misspelt(key)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer=adm"], ["optimizer=adm", "'adam'", "sgd"]),
        (["experiment=artcle"], ["experiment=artcle", "'article'"]),
        (["optimizer.lr=-1"], ["optimizer.lr=-1", "above 0"]),
        (["optimizer.lr=inf"], ["optimizer.lr", "finite"]),
        (["optimizer.lr=fast"], ["optimizer.lr='fast'", "number"]),
        (["optimizer.lr=null"], ["optimizer.lr=null"]),
        (["data.batch_size=0"], ["data.batch_size=0", "at least 1"]),
        (["data.batch_size=1.5"], ["data.batch_size=1.5", "integer"]),
        (["data.val_size=60000"], ["data.val_size=60000", "below 60000"]),
        (["model.dropout=2"], ["model.dropout=2", "below 1"]),
        (["model.hidden=[64,0]"], ["model.hidden", "at least 1"]),
        (["model.activation=rleu"], ["model.activation='rleu'", "'relu'"]),
        (["trainer.devices=x"], ["trainer.devices='x'", "auto"]),
        (["trainer.precision=16"], ["trainer.precision", "bf16-mixed"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
        (["name=a b"], ["name='a b'", "letters"]),
        (["data.val_size=0", "monitor=val/acc"], ["monitor=val/acc", "data.val_size=5000"]),
        (["monitor=val/loss", "mode=max"], ["mode=max", "worst"]),
        (["data.batch_size=1", "trainer.devices=2"], ["data.batch_size=1", "trainer.devices=2"]),
        (["model.loss=squared_error"], ["model.loss", "it is now task.loss"]),
        (["+model.gradient_clip_norm=1"], ["model.gradient_clip_norm", "it is now task.gradient_clip_norm"]),
        (["schedule=step", "schedule.every_epochs=2"], ["it is now schedule.step_size"]),
        (["~optimizer"], ["optimizer"]),
        (["optimizer"], ["optimizer"]),
        (["seed=[1"], ["seed=[1", "quotes"]),
        (["seed=1,2"], ["seed=1,2", "-m"]),
        (["trainer=null"], ["trainer=null", "name"]),
        (["~optimizer.lrr"], ["optimizer.lrr", "'optimizer.lr'"]),
        (["model.hidden=[64,x]"], ["model.hidden[1]='x'"]),
        (["-m", "seed=range(1,1)"], ["no jobs"]),
        (["monitor=null", "mode=min"], ["mode=min"]),
        (["callbacks.best.monitor=foo"], ["callbacks.best.monitor='foo'"]),
        (["callbacks.last.filename=best"], ["callbacks.last.filename='best'"]),
        (["--config-name", "other"], ["--config-name", "conf/experiment/"]),
        (["--cfg", "job", "-m"], ["--cfg", "--multirun"]),
        (["--resolve"], ["--cfg job"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["hydra.run.dir=/tmp/mine"], ["hydra.run.dir", "OUTPUTS_DIR"]),
        (["name=1234567"], ["name=1234567 must be text", "as in name='\"1234567\"'"]),
        (["name=12e4567"], ["name=12e4567 must be text", "as in name='\"12e4567\"'"]),
        (["tags=[a,1]"], ["tags[1]=1 must be text", "tags='[\"...\"]'"]),
        (["lr=0.1"], ["did you mean 'optimizer.lr'?"]),
        (["+lr=0.1"], ["did you mean 'optimizer.lr'?"]),
        (["model.lr=0.1"], ["did you mean 'optimizer.lr'?"]),
        (["+model.lr=0.1"], ["did you mean 'optimizer.lr'?"]),
        (["epochs=3"], ["did you mean 'trainer.max_epochs'?"]),
        (["filename=a"], ["'callbacks.best.filename' or 'callbacks.last.filename'"]),
        (["seed=range(1,3)"], ["seed=range(1,3)", "-m"]),
        (["sweep=mlp"], ["sweep=mlp varies optimizer, optimizer.lr", "add -m"]),
        (["sweep=mlp", "optimizer=adam"], ["sweep=mlp varies optimizer.lr", "add -m"]),
        (["hydra/sweeper=optuna"], ["hydra.sweeper", "add -m"]),
        (["hydra/launcher=joblib"], ["hydra/launcher", "add -m"]),
        (["-m", "optimizer=glob(x*)"], ["no jobs", "glob()"]),
        (["seed=${oc.env:NOT_SET}"], ["seed refers to the environment variable NOT_SET"]),
        (["name=${nothing}"], ["nothing is missing, and name refers to it"]),
    ],
)
def test_each_mistake_gets_a_sentence_with_value_and_remedy(words: list[str], said: list[str]):
    sentence = refusal(*words)
    assert all(part in sentence for part in said), sentence
    assert "Traceback" not in sentence


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
    command: Command, words: list[str], lines: list[str]
):
    done = command("train", *words)
    assert done.status == 2
    assert not done.outputs.exists()
    errors = done.stderr.splitlines()
    assert [error for error, line in zip(errors, lines, strict=True) if f"error: {line}" not in error] == []


@pytest.mark.parametrize(
    ("group", "words", "left_out"),
    [
        ("data", ["data=points"], ["batch_size", "steps_per_execution", "val_size"]),
        ("task", [], ["loss", "label_smoothing"]),
        ("model", [], ["hidden", "activation", "dropout"]),
        ("optimizer", [], ["betas", "eps", "weight_decay", "fused"]),
        ("schedule", ["schedule=cosine"], ["warmup_epochs", "final_ratio"]),
        ("callbacks", ["callbacks=pruning"], ["pruning.amount", "pruning.start_epoch", "pruning.end_epoch"]),
    ],
)
def test_settings_with_a_default_may_be_left_out_and_are_recorded_as_configured(
    group: str, words: list[str], left_out: list[str]
):
    [config] = preflight(parse([*words, *(f"~{group}.{name}" for name in left_out)]))
    check_targets(config)
    node = config[group]["pruning"] if group == "callbacks" else config[group]
    assert "_target_" in node
    assert not set(node) & {name.rpartition(".")[2] for name in left_out}
    if group == "data":  # the class holds nothing out by default
        assert (config["monitor"], config["mode"]) == (None, "max")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+optimizer.foreach=true"], "optimizer: `fused` and `foreach` cannot be"),
        (["callbacks=pruning", "callbacks.pruning.end_epoch=11"], "end_epoch=11 must be at most trainer.max_epochs=10"),
        (["optimizer=muon", "model=linear"], "optimizer: Muon optimizes hidden layers"),
    ],
)
def test_what_an_object_says_of_its_settings_ends_the_command_before_a_run_begins(words: list[str], message: str):
    [config] = preflight(parse(words))
    with pytest.raises(ConfigError, match=message):
        check_targets(config)


@pytest.mark.parametrize("word", ["~callbacks", "~optimizer._target_", "callbacks.best=null"])
def test_help_describes_what_is_left_of_a_configuration(word: str):
    assert "trainer.max_epochs=10" in help_text(parse(["--help", word]))


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("+optimizer.amsgrad=true", "amsgrad", True),
        ("+optimizer.foreach=null", "foreach", None),
        ("optimizer.weight_decay=1", "weight_decay", 1.0),
    ],
)
def test_every_parameter_of_a_class_of_torch_can_be_set(word: str, key: str, value: object):
    [config] = preflight(parse([word]))
    check_targets(config)
    assert (config["optimizer"][key], type(config["optimizer"][key])) == (value, type(value))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+callbacks.best.dirpath=/tmp/x", "callbacks.best.dirpath='/tmp/x' must be null"),
        ("+callbacks.best.save_last=true", "last.ckpt is written by callbacks.last"),
        ("+callbacks.last.save_weights_only=true", "must be false: a run is resumed from its whole state"),
        ("callbacks.last.save_on_train_epoch_end=false", "must be true: a run is resumed from the end of an epoch"),
        ("+callbacks.best.save_on_exception=true", "must be false"),
        ("+callbacks.best.save_top_k=0", "saves nothing"),
        ("+callbacks.best.save_top_k=-2", "must be at least -1"),
        ("+callbacks.last.save_top_k=3", "last.ckpt is one file"),
        ("callbacks.best.mode=min", "callbacks.best.mode=min would take the worst val/acc for the best"),
        ("+optimizer.params=[1]", "optimizer.params cannot be set: the program decides it."),
        ("+optimizer.amsgrad=1", "optimizer.amsgrad=1 must be true or false."),
        ("+optimizer.betas=[0.9]", "must be a list of at least 2 elements"),
        ("optimizer.betas=[0.9,1.0]", "optimizer.betas[1]=1.0 must be below 1."),
        ("data.augment.scale=1", "data.augment.scale=1 must be below 1."),
    ],
)
def test_what_would_break_a_run_is_refused_with_the_reason(word: str, said: str):
    assert said in refusal(word)


@pytest.mark.parametrize("word", ["fast_dev_run=true", "trainer.fast_dev_run=true", "+trainer.fast_dev_run=true"])
def test_a_key_that_resembles_none_gets_no_suggestion(word: str):
    sentence = refusal(word)
    assert "fast_dev_run: there is no such setting" in sentence
    assert "did you mean" not in sentence


def test_text_that_reads_as_a_number_is_accepted_in_the_quotes_that_were_advised():
    for name in ("1234567", "12e4567"):
        [config] = preflight(parse([f'name="{name}"']))
        assert config["name"] == name


def test_one_point_of_a_search_is_a_single_run():
    words = ["sweep=mlp", "optimizer=sgd", "optimizer.lr=0.1", "schedule=cosine", "model.hidden=[64]"]
    [config] = preflight(parse([*words, "model.activation=relu", "model.dropout=0.1"]))
    assert config["trainer"]["max_epochs"] == 5


def test_a_glob_stands_for_the_choices_of_a_group_in_grids_and_in_searches():
    plan = make_plan(parse(["-m", "optimizer=glob(ada*)"]))
    assert plan.jobs == [["optimizer=adagrad"], ["optimizer=adam"], ["optimizer=adamw"]]
    search = make_plan(parse(["-m", "hydra/sweeper=optuna", "optimizer=glob([a*,s*],exclude=adam*)"]))
    targets = [config["optimizer"]["_target_"] for config in search.configs]
    assert targets == ["torch.optim.Adagrad", "torch.optim.SGD"]


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


def test_a_tilde_in_a_path_is_the_home_directory(make_run: MakeRun, command: Command, tmp_path: Path):
    make_run(events=True)
    done = command("runs", "export", "-o", "~/points.csv", HOME=str(tmp_path), OUTPUTS_DIR="~/outputs")
    assert done.status == 0, done.stderr
    assert "of 1 runs" in done.stdout
    assert (tmp_path / "points.csv").is_file()
    unknown = command("runs", "ls", OUTPUTS_DIR="~nobody-here/x")
    assert (unknown.status, unknown.stderr.count("\n")) == (2, 1)
    assert "there is no user 'nobody-here'" in unknown.stderr


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.x={_target_:os.system,command:true}",
        "hydra.sweep={dir:/tmp/x,subdir:y}",
        "hydra.output_subdir=../elsewhere",
        "hydra.launcher._target_=os.system",
        "hydra/job_logging=default",
        "+hydra.job.env_set={LD_PRELOAD:x}",
        "hydra.searchpath=[pkg://os]",
        "++hydra.mode=MULTIRUN",
    ],
)
def test_hydra_itself_cannot_be_bent(word: str):
    assert "not allowed" in refusal(word)


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


def test_every_mistake_is_named_at_once():
    assert len(refusal("optimizer.lr=-1", "data.batch_size=0", "model.dropout=2").splitlines()) == 3


def test_one_bad_point_of_a_sweep_stops_it_before_it_begins():
    assert "optimizer.lr=-1" in refusal("-m", "optimizer.lr=0.1,-1", "seed=1,2")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_multirun_flag_may_stand_anywhere(place: int):
    words = ["optimizer=sgd,adam", "seed=1,2"]
    words.insert(place, "-m")
    line = parse(words)
    assert line.multirun
    assert line.overrides == ["optimizer=sgd,adam", "seed=1,2"]
    assert points(line)[3] == ["optimizer=adam", "seed=2"]


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


def test_help_lists_every_choice_and_every_setting_with_its_bounds_in_a_hundred_columns(command: Command):
    done = command("train", "--help", "optimizer=sgd", "optimizer.lr=0.5")
    assert done.status == 0, done.stderr
    for group in (*GROUPS, "experiment"):
        for path in (CONF / group).glob("*.yaml"):
            assert path.stem in done.stdout
    [config] = preflight(parse(["optimizer=sgd"]))
    words = {line.split("=")[0].strip() for line in done.stdout.splitlines() if "=" in line}
    assert {key for key in keys(config) if not key.endswith("_target_")} - {*GROUPS, "data.augment"} - words <= {
        f"callbacks.{name}" for name in config["callbacks"]
    } | {"logger.tensorboard"}
    assert re.search(r"^  optimizer.lr=0.5 +learning rate \(> 0\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^  \+optimizer.dampening=0 +dampening of the momentum \(0 to 1\)$", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 100


@given(st.text(alphabet=st.characters(exclude_characters="\\\x00\n\r", exclude_categories=("C",)), min_size=1))
def test_any_directory_name_survives_hydras_grammar(name: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    path = Path("/tmp") / name
    assert OverridesParser.create().parse_override(quoted_override("hydra.run.dir", path)).value() == str(path)


@given(st.floats(allow_subnormal=False) | st.integers() | st.text(max_size=8) | st.none() | st.booleans())
def test_a_rate_is_accepted_exactly_when_it_is_a_finite_number_above_zero(compose: Callable[..., Any], value: object):
    from src.config.check import check

    config = compose()
    config = {**config, "optimizer": {**config["optimizer"], "lr": value}}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 < value < float("inf"):  # type: ignore[operator]
        assert check(config)["optimizer"]["lr"] == float(value)  # type: ignore[arg-type]
    else:
        with pytest.raises(ConfigError, match=r"optimizer\.lr"):
            check(config)

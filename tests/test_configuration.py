"""Preflight: what is wrong is said in a sentence, with the nearest right spelling, before torch is imported."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import src.config.compose as composing
from src.config.command_line import parse, points, quoted_override
from src.config.compose import preflight
from src.config.schema import GROUPS
from src.errors import ConfigError
from src.paths import CONF, ROOT


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as refused:
        preflight(parse(list(words)))
    return str(refused.value)


def keys(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
    composing.register_resolvers()
    DEFAULT = OmegaConf.to_container(compose("train"), resolve=True)
KEYS = sorted(set(keys(DEFAULT)))  # type: ignore[arg-type]


def misspelt(key: str) -> str:
    """The last word of a dotted key with its second letter doubled."""
    head, dot, last = key.rpartition(".")
    at = 2 if last.startswith("_") else 1
    return f"{head}{dot}{last[:at]}{last[at - 1 :]}"


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
    assert preflight(parse([choice]))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_misspelt_on_the_command_line_is_refused_by_name(key: str):
    wrong = misspelt(key)
    for plus in ("", "+"):
        sentence = refusal(f"{plus}{wrong}=1")
        assert wrong in sentence
        assert key.rpartition(".")[2] in sentence  # the right spelling is suggested


@pytest.mark.parametrize("key", KEYS)
def test_a_key_misspelt_in_a_yaml_file_is_refused_by_name(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    nested: Any = 1
    for part in reversed(misspelt(key).split(".")):
        nested = {part: nested}
    (conf / "experiment" / "typo.yaml").write_text(f"# @package _global_\n{yaml.safe_dump(nested)}")
    monkeypatch.setattr(composing, "CONF", conf)
    assert misspelt(key) in refusal("experiment=typo")


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
        (["data.train_size=55001"], ["data", "55000"]),
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
        (["optimizer=sgd", "optimizer.nesterov=true"], ["momentum"]),
        (["schedule.warmup_epochs=11"], ["warmup_epochs=11", "max_epochs=10"]),
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
    ],
)
def test_each_mistake_gets_a_sentence_with_value_and_remedy(words: list[str], said: list[str]):
    sentence = refusal(*words)
    assert all(part in sentence for part in said), sentence
    assert "Traceback" not in sentence


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
def test_a_bad_yaml_file_is_refused_in_a_sentence(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "experiment" / "typo.yaml").write_text(f"# @package _global_\n{text}\n")
    monkeypatch.setattr(composing, "CONF", conf)
    assert said in refusal("experiment=typo")


def test_an_experiment_without_its_first_line_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "experiment" / "typo.yaml").write_text("seed: 3\n")
    monkeypatch.setattr(composing, "CONF", conf)
    assert "# @package _global_" in refusal("experiment=typo")


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


def test_help_names_every_group_and_choice(capfd: pytest.CaptureFixture[str]):
    done = subprocess.run([sys.executable, "-m", "src.train", "--help"], cwd=ROOT, capture_output=True, text=True)
    for group in (*GROUPS, "experiment"):
        assert group in done.stdout
        for path in (CONF / group).glob("*.yaml"):
            assert path.stem in done.stdout


@given(st.text(alphabet=st.characters(exclude_characters="\\\x00\n\r", exclude_categories=("C",)), min_size=1))
def test_any_directory_name_survives_hydras_grammar(name: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    path = Path("/tmp") / name
    assert OverridesParser.create().parse_override(quoted_override("hydra.run.dir", path)).value() == str(path)


@given(st.floats() | st.integers() | st.text(max_size=8) | st.none() | st.booleans())
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

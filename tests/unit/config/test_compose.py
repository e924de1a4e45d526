"""Preflight: what is wrong is said in a sentence, with the nearest right spelling, before torch is imported."""

import re
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as compose_by_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.config.command_line import parse, points, quoted_override
from src.config.compose import help_text, make_plan, preflight, register_resolvers
from src.config.hydra_internals import choices_and_values, with_values
from src.config.targets import GROUPS, MANY
from src.errors import ConfigError
from src.paths import CONF
from src.records.find import check_name
from src.training.check import check_targets
from tests.helpers.preflight import KEYS, misspelt, refusal


def test_the_default_configuration_composes_and_passes():
    [config] = preflight(parse([]))
    assert config["monitor"] == "val/acc"
    assert config["mode"] == "max"
    assert config["model"]["hidden"] == [128, 64]


def choices_of(group: str) -> list[str]:
    files = [path for path in (CONF / group).glob("*.yaml") if "???" not in path.read_text()]
    return sorted(f"{group}={path.stem}" for path in files)


APART = ("data", "task", "model")  # their choices have to fit each other


@pytest.mark.parametrize(
    "choices",
    [
        *([choice] for group in (*APART, "experiment") for choice in choices_of(group)),
        # The choices of the other groups, one of each at a time.
        *zip_longest(*(choices_of(group) for group in GROUPS if group not in APART)),
    ],
    ids=lambda choices: ",".join(filter(None, choices)),
)
def test_every_choice_of_every_group_composes(choices: Iterable[str | None]):
    [config] = preflight(parse([choice for choice in choices if choice]))
    check_name(config["name"])


def assert_suggests(message: str, key: str) -> None:
    assert misspelt(key) in message
    assert re.search(rf"\b{key.rpartition('.')[2]}'", message), message  # the right spelling, in quotes


@pytest.mark.parametrize("key", KEYS[::6])
def test_a_key_misspelt_on_the_command_line_is_refused_by_name(key: str):
    assert_suggests(refusal(f"{misspelt(key)}=1"), key)


@pytest.mark.parametrize("depth", range(3))
def test_every_misspelt_key_that_is_added_is_refused_by_name(depth: int):
    keys = [key for key in KEYS if key.count(".") == depth]
    lines = refusal(*(f"+{misspelt(key)}=1" for key in keys)).splitlines()
    found = {re.split("[:=]", line)[0]: line for line in lines}
    assert found.keys() == {misspelt(key) for key in keys}
    for key in keys:
        if depth == 1 and key.partition(".")[0] in MANY:
            assert f"{misspelt(key)}._target_" in found[misspelt(key)]  # an object may have any name
        else:
            assert_suggests(found[misspelt(key)], key)


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
        (["callbacks.best.monitor=foo"], ["callbacks.best.monitor=foo", "the task logs val/loss, val/acc"]),
        (["task=custom"], ["task._target_ is missing", "task._target_="]),
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
    assert "trainer.max_epochs=3" in help_text(parse(["--help", word, "trainer.max_epochs=3"]))


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


@pytest.mark.parametrize("word", ["fast_dev=true", "trainer.fast_dev=true", "+trainer.fast_dev=true"])
def test_a_key_that_resembles_none_gets_no_suggestion(word: str):
    sentence = refusal(word)
    assert "fast_dev: there is no such setting" in sentence
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


def test_a_metric_of_unknown_direction_is_one_error_and_not_one_of_each_callback():
    boring = "lightning.pytorch.demos.boring_classes.Boring"
    words = ["task=custom", f"task._target_={boring}Model", "data=custom", f"data._target_={boring}DataModule"]
    with pytest.raises(ConfigError, match=r"^monitor=nope: its name does not say [^\n]+$"):
        preflight(parse([*words, "monitor=nope"]))


@pytest.mark.parametrize("word", ["task=null", "logger=3"])
def test_of_several_groups_the_one_that_names_no_file_is_reported(word: str):
    with pytest.raises(ConfigError, match=f"^{word}: a group is chosen by the name"):
        preflight(parse(["callbacks=none", word]))


@pytest.mark.parametrize(
    "words",
    [
        ["seed=3"],
        ["optimizer.lr=0.3", "optimizer=sgd", "seed=4"],
        ["+optimizer.amsgrad=true", "tags=[a,b]", "model.hidden=[3,4]", "~logger"],
        ["experiment=article", "trainer.max_epochs=3", "hydra.launcher.n_jobs=2"],
        ["callbacks=[default,ema]", "+trainer.x=3", "+model@foo=mlp"],
        ["sweep=mlp", "hydra.sweeper.n_trials=3", "init_from={path: x, strict: false}"],
        ["model={_target_: x, a: 1}"],
        ["optimizer.no=1"],
        ["optimizer=sgd", "seed=1,2"],
    ],
)
def test_values_set_on_a_composed_configuration_give_what_hydra_composes(words: list[str]):
    def text(make: Callable[[], Any]) -> str:
        try:
            return OmegaConf.to_yaml(make())
        except HydraException as error:
            return str(error)

    def in_two_steps() -> Any:
        choices, values = choices_and_values(words)
        return with_values(compose_by_hydra("train", overrides=choices, return_hydra_config=True), values, words)

    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), job_name="train", version_base="1.3"):
        assert text(in_two_steps) == text(lambda: compose_by_hydra("train", overrides=words, return_hydra_config=True))

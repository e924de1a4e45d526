"""Only what stands on the list is called, whatever a configuration or a checkpoint names."""

import copy
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.config.check import check
from src.config.command_line import parse
from src.config.compose import preflight
from src.config.schemas import default_of, schema_of
from src.config.signatures import returns
from src.config.targets import build, check_name, resolve
from src.errors import ConfigError
from src.training.check import check_targets
from tests.helpers.targets import CONFIG

GROUPS = ("data", "model", "optimizer", "schedule", "callbacks", "logger")


HOSTILE = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "torch.load",
    "torch.hub.load",
    "torch.optim.sgd.torch.load",
    "torch.optim.lr_scheduler",
    "torch.optim.optimizer.torch",
    "src.models.mlp.nn",
    "src.models.mlp.math.prod",
    "src.tasks.classification.build",
    "src.models..mlp.MLP",
    "src.models.mlp.MLP.__init__",
    "src.models.mlp.MLP.load_state_dict",
    "src.models.mlp.__loader__",
    "src.train.main",
    "src.config.targets.build",
    "torchvision.models.get_model_weights.os",
    "hydra.utils.get_method",
    "SRC.model.mlp.MLP",
    " src.models.mlp.MLP",
    "src/models/mlp.MLP",
    "../src.models.mlp.MLP",
    "",
    None,
    7,
    ["os.system"],
]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_names_are_refused(target: object, group: str):
    with pytest.raises(ConfigError, match="_target_"):
        resolve(target, group)


@given(st.text() | st.from_regex(r"[a-z]{1,8}(\.[a-zA-Z_]{1,8}){1,4}", fullmatch=True))
def test_names_off_the_list_are_refused_before_anything_is_imported(target: str):
    before = set(sys.modules)
    if target.partition(".")[0] not in ("src", "examples", "torch", "torchvision", "torchmetrics", "lightning"):
        for group in GROUPS:
            with pytest.raises(ConfigError):
                check_name(target, group)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "words",
    [
        ["model._target_=os.system"],
        ["+model.hidden={_target_:os.system,command:true}"],
        ["+optimizer._partial_=true"],
        ["+optimizer._args_=[1]"],
        ["+callbacks.evil={_target_:os.system,command:true}"],
        ["+callbacks.evil={_target_:lightning.pytorch.callbacks.LambdaCallback,setup:{_target_:os.system}}"],
        ["model._target_=${oc.env:HOME}"],
        ["optimizer._target_=src.models.mlp.MLP"],
        ["logger.tensorboard._target_=src.callbacks.progress.Progress"],
    ],
)
def test_hostile_configurations_stop_in_preflight(words: list[str]):
    with pytest.raises(ConfigError):
        preflight(parse(words))


SPELLINGS = [
    "{}",
    " {}",
    "{} ",
    "{}.",
    "./{}",
    "${{oc.env:HOME,{}}}",
    "${{{}}}",
    "src.models.mlp.{}",
    "torch.optim.{}",
    "src.{}",
]


@st.composite
def hostile_nodes(draw: st.DrawFn) -> object:
    """A node that would run something, in some spelling, under some of the keys by which Hydra calls things."""
    target = draw(st.sampled_from(SPELLINGS)).format(
        draw(st.sampled_from(["tests.helpers.canary.sing", "os.system", "torch.load"]))
    )
    node: object = {draw(st.sampled_from(["_target_", "_target_", "target", "_call_"])): target}
    node |= draw(
        st.sampled_from([{}, {"_partial_": True}, {"_args_": ["x"]}, {"_recursive_": True}, {"_convert_": "all"}])
    )
    for _ in range(draw(st.integers(0, 2))):
        node = draw(st.sampled_from([{"inner": node}, [node], {"_target_": "src.models.mlp.MLP", "hidden": node}]))
    return draw(st.sampled_from([node, target]))


@given(hostile_nodes(), st.data())
def test_nothing_hostile_is_reached_wherever_it_stands_in_a_configuration(node: object, data: st.DataObject):
    config = copy.deepcopy(CONFIG)
    place = data.draw(st.sampled_from(sorted(group for group in config if isinstance(config[group], dict))))
    parent = config[place]
    while data.draw(st.booleans()) and (inner := [key for key in parent if isinstance(parent[key], dict)]):
        parent = parent[data.draw(st.sampled_from(sorted(inner)))]
    parent[data.draw(st.sampled_from([*sorted(parent), "another"]))] = node
    try:
        check_targets(check(config))
    except ConfigError:
        pass
    else:  # a word where words are free, such as a folder's name: nothing was called by it
        assert isinstance(node, str)
    assert "tests.helpers.canary" not in sys.modules


@pytest.mark.parametrize(
    ("group", "target", "said"),
    [
        ("data", "src.data.archives.unpack", "is a function: it must be a class"),
        ("data", "lightning.pytorch.LightningDataModule", "derived from"),
        ("model", "src.models.mlp.pairwise", "defines no 'pairwise'"),
        ("model", "src.train.main", "annotate that it returns a torch.nn.Module"),
        ("model", "src.tasks.classification.Classifier", "name it as task._target_"),
        ("model", "torch.jit.load", "of the libraries' functions torchvision.models. is allowed"),
        ("callbacks", "src.callbacks.curves.point_is_due", "is a function"),
        ("callbacks", "src.data.mnist.MNIST", "derived from lightning.pytorch.Callback"),
        ("logger", "src.loggers.tensorboard.close_session", "is a function"),
        ("nested", "torchvision.datasets.LSUN", "unpickles a file"),
        ("callbacks", "src.callbacks.progress.Bar", "defines no 'Bar'"),
        ("optimizer", "torch.optim.Adagradd", "did you mean 'Adagrad'"),
        ("model", "src.models.mlp.MLPP", "did you mean 'MLP'"),
    ],
)
def test_a_name_must_lead_to_the_right_kind_of_thing(group: str, target: str, said: str):
    with pytest.raises(ConfigError, match=said):
        resolve(target, group)


def test_an_argument_the_program_adds_must_be_taken_and_cannot_be_set():
    with pytest.raises(ConfigError, match=r"^data.seed cannot be set"):
        check({**CONFIG, "data": {**CONFIG["data"], "seed": 3}})


def test_an_argument_the_target_does_not_take_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^optimizer.momentun: .*'momentum'"):
        check({**CONFIG, "optimizer": {"_target_": "torch.optim.SGD", "momentun": 0.9}})


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match=r"^schedule.gamma is missing"):
        check({**CONFIG, "schedule": {"_target_": "src.optim.schedules.exponential"}})


def test_settings_are_those_of_the_signature_and_of_every_constructor_its_kwargs_reach():
    schema = schema_of("src.data.mnist.MNIST", "data")
    assert {"dir", "val_size", "batch_size", "augment"} <= set(schema["properties"])
    assert "seed" not in schema["properties"]
    assert schema["properties"]["val_size"]["exclusiveMaximum"] == 60_000
    assert default_of({"_target_": "src.data.points.Points"}, "data", "val_size") == 0


def test_an_optimizer_of_torch_needs_no_code_here():
    optimizer = build({"_target_": "torch.optim.RAdam", "lr": 0.1}, "optimizer", [torch.nn.Parameter(torch.ones(1))])
    assert isinstance(optimizer, torch.optim.RAdam)


def test_what_the_program_offers_may_have_any_name():
    offered = dict.fromkeys(["node", "group", "args", "supplied", "prefix", "factory"], 1)
    net = build({"_target_": "src.models.mlp.MLP"}, "model", supplied={**offered, "input_shape": [4], "outputs": 2})
    assert net(torch.zeros(3, 4)).shape == (3, 2)


def test_a_function_must_return_a_network_itself():
    def several() -> list[torch.nn.Module]:
        return []

    def perhaps() -> torch.nn.Linear | None:
        return None

    assert not returns(several, torch.nn.Module)
    assert returns(perhaps, torch.nn.Module)
    with pytest.raises(ConfigError, match=r"^model: torchvision\.models\.list_models returned a list"):
        check_targets({**CONFIG, "model": {"_target_": "torchvision.models.list_models"}})

"""Only what stands on the list is called, whatever a configuration or a checkpoint names."""

import copy
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config.check import check
from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError
from src.fit import check_targets
from src.paths import ROOT
from src.targets import build, check_call, check_name, resolve

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
    "src.model.mlp.nn",
    "src.model.mlp.math.prod",
    "src.model.classifier.build",
    "src.model..mlp.MLP",
    "src.model.mlp.MLP.__init__",
    "src.model.mlp.MLP.load_state_dict",
    "src.model.mlp.__loader__",
    "src.train.main",
    "src.targets.build",
    "lightning.pytorch.callbacks.LambdaCallback",
    "hydra.utils.get_method",
    "SRC.model.mlp.MLP",
    " src.model.mlp.MLP",
    "src/model/mlp.MLP",
    "../src.model.mlp.MLP",
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
    if not target.startswith(("src.", "torch.optim.", "lightning.pytorch.callbacks.")):
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
        ["optimizer._target_=src.model.mlp.MLP"],
        ["logger.tensorboard._target_=src.callbacks.progress.Progress"],
    ],
)
def test_hostile_configurations_stop_in_preflight(words: list[str]):
    with pytest.raises(ConfigError):
        preflight(parse(words))


CONFIG = preflight(parse([]))[0]
SPELLINGS = [
    "{}",
    " {}",
    "{} ",
    "{}.",
    "./{}",
    "${{oc.env:HOME,{}}}",
    "${{{}}}",
    "src.model.mlp.{}",
    "torch.optim.{}",
    "src.{}",
]


@st.composite
def hostile_nodes(draw: st.DrawFn) -> object:
    """A node that would run something, in some spelling, under some of the keys by which Hydra calls things."""
    target = draw(st.sampled_from(SPELLINGS)).format(
        draw(st.sampled_from(["tests.canary.sing", "os.system", "torch.load"]))
    )
    node: object = {draw(st.sampled_from(["_target_", "_target_", "target", "_call_"])): target}
    node |= draw(
        st.sampled_from([{}, {"_partial_": True}, {"_args_": ["x"]}, {"_recursive_": True}, {"_convert_": "all"}])
    )
    for _ in range(draw(st.integers(0, 2))):
        node = draw(st.sampled_from([{"inner": node}, [node], {"_target_": "src.model.mlp.MLP", "hidden": node}]))
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
    assert "tests.canary" not in sys.modules


@pytest.mark.parametrize(
    ("group", "target", "said"),
    [
        ("data", "src.data.archives.unpack", "derived from src.data.module.TensorData"),
        ("data", "src.data.module.TensorData", "derived from"),
        ("model", "src.model.classifier.build", "defines no 'build'"),
        ("model", "src.model.schedules.cosine", "derived from torch.nn.Module"),
        ("logger", "src.tracking.record.claim", "derived from lightning.pytorch.loggers.Logger"),
        ("logger", "src.tracking.logs.log_to", "derived from"),
        ("callbacks", "src.callbacks.progress.Bar", "defines no 'Bar'"),
        ("optimizer", "torch.optim.Adagradd", "did you mean 'Adagrad'"),
        ("model", "src.model.mlp.MLPP", "did you mean 'MLP'"),
    ],
)
def test_a_name_must_lead_to_the_right_kind_of_thing(group: str, target: str, said: str):
    with pytest.raises(ConfigError, match=said):
        resolve(target, group)


def test_an_argument_the_program_adds_must_be_taken_and_cannot_be_set():
    with pytest.raises(ConfigError, match="must take an argument 'colour'"):
        check_call({"_target_": "src.model.mlp.MLP"}, "model", ["input_shape", "outputs", "colour"])
    with pytest.raises(ConfigError, match=r"model.outputs cannot be set"):
        check_call({"_target_": "src.model.mlp.MLP", "outputs": 3}, "model", ["input_shape", "outputs"])


def test_an_argument_the_target_does_not_take_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"optimizer.momentun: .*'momentum'"):
        check_call({"_target_": "torch.optim.SGD", "momentun": 0.9}, "optimizer", ["params"])


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match=r"model.outputs is missing"):
        check_call({"_target_": "src.model.mlp.MLP"}, "model", ["input_shape"])


def test_an_optimizer_of_torch_needs_no_code_here():
    import torch

    optimizer = build({"_target_": "torch.optim.RAdam", "lr": 0.1}, "optimizer", [torch.nn.Parameter(torch.ones(1))])
    assert isinstance(optimizer, torch.optim.RAdam)


def test_a_name_is_refused_without_importing_its_module():
    code = (
        "import sys\nfrom src.targets import check_name\nfrom src.errors import ConfigError\n"
        "try:\n    check_name('antigravity.fly', 'model')\nexcept ConfigError:\n    sys.exit('antigravity' in sys.modules)\n"
        "sys.exit('accepted')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0

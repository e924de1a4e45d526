"""Nodes with ``_partial_: true``: functions that whoever gets them calls with the remaining arguments."""

import pytest
import torch

from src.config.check import check
from src.config.targets import build
from src.errors import ConfigError
from tests.helpers.targets import CONFIG

NODE = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5}


def with_nested(node: dict[str, object]) -> dict[str, object]:
    callback = {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "setup": node}
    return {**CONFIG, "callbacks": {**CONFIG["callbacks"], "own": callback}}


def test_what_its_caller_passes_is_not_missing():
    [node] = [check(with_nested(NODE))["callbacks"]["own"]["setup"]]
    optimizer = build(node, "nested")([torch.nn.Parameter(torch.zeros(1))])
    assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.Adam, 0.5)


def test_it_is_checked_like_any_other():
    with pytest.raises(ConfigError, match=r"callbacks\.own\.setup\.lr=-1\.0 must be"):
        check(with_nested({**NODE, "lr": -1.0}))
    with pytest.raises(ConfigError, match=r"callbacks\.own\.setup\.params is missing"):
        check(with_nested({key: value for key, value in NODE.items() if key != "_partial_"}))
    with pytest.raises(ConfigError, match=r"callbacks\.own\.setup\._partial_='false' must be true or false"):
        check(with_nested({**NODE, "_partial_": "false"}))

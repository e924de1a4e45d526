"""Files of weights that a run starts from, or cannot start from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.config.check import check
from src.errors import ConfigError, UserError
from src.training.check import check_targets
from tests.helpers.targets import CONFIG


@pytest.mark.parametrize(
    "content", [torch.ones(3), [1, 2], {"state_dict": [1]}, {"state_dict": {3: torch.ones(2)}}, {"net.weight": 1.0}]
)
def test_a_file_without_weights_by_name_is_refused(tmp_path: Path, content: Any):
    torch.save(content, path := tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"^init_from=.*weights\.pt: the file has no state_dict"):
        check_targets({**CONFIG, "init_from": {"path": str(path), "strict": True}})


def test_a_file_that_contains_more_than_data_is_refused_before_the_run(tmp_path: Path):
    torch.save({"net.weight": Path}, path := tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt cannot be read as a checkpoint \(UnpicklingError\)"):
        check_targets({**CONFIG, "init_from": {"path": str(path), "strict": True}})


def test_the_configuration_of_a_run_that_started_from_a_file_is_valid_again():
    recorded = {**CONFIG, "init_from": {"run": None, "path": "weights.pt", "strict": True}}
    assert check(recorded)["init_from"] == recorded["init_from"]

"""Every argument of lightning.pytorch.Trainer: trained with, or refused with the reason; and the table of them in docs."""

import inspect

import lightning.pytorch as pl
import pytest

from src.config.schemas import of_group
from src.config.targets import OWNED_BY_TRAINING
from src.paths import ROOT
from tests.conftest import Fit
from tests.helpers.preflight import refusal

PAGE = ROOT / "docs" / "trainer.md"
ARGUMENTS = [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]
OURS = ("threads", "max_minutes")
# Another value than the default of each, with which a short training takes the same path as in any other.
BOTH_PATHS = {
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "precision": "64-true",
    "max_epochs": 2,
    "log_every_n_steps": 2,
    "deterministic": True,
}
PLAIN_PATH = {
    "strategy": "ddp",
    "min_epochs": 2,
    "max_steps": 5,
    "min_steps": 3,
    "max_time": "00:00:10:00",
    "limit_train_batches": 3,
    "limit_val_batches": 1,
    "limit_test_batches": 1,
    "overfit_batches": 2,
    "val_check_interval": 0.5,
    "check_val_every_n_epoch": 2,
    "num_sanity_val_steps": 1,
    "enable_model_summary": True,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 0.5,
    "gradient_clip_algorithm": "value",
    "benchmark": True,
    "inference_mode": False,
    "use_distributed_sampler": False,
    "profiler": "simple",
    "detect_anomaly": True,
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 1,
}


def test_every_argument_is_accounted_for_and_no_own_setting_hides_one():
    assert {*BOTH_PATHS, *PLAIN_PATH, *OWNED_BY_TRAINING} == {*ARGUMENTS}
    assert not {*OURS} & {*ARGUMENTS}
    assert {*of_group("trainer")["trainer"]["properties"]} == {*BOTH_PATHS, *PLAIN_PATH, *OURS}


@pytest.mark.parametrize("name", OWNED_BY_TRAINING)
def test_what_the_program_owns_is_refused_with_the_reason(name: str):
    sentence = refusal(f"+trainer.{name}=1")
    assert f"trainer.{name} cannot be set: {OWNED_BY_TRAINING[name]}" in sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BOTH_PATHS, *PLAIN_PATH])
def test_every_other_argument_trains(fit_here: Fit, name: str):
    value = {**BOTH_PATHS, **PLAIN_PATH}[name]
    words = ["trainer.max_epochs=2", "data.train_size=256", "data.val_size=64"]
    words = [word for word in words if not word.startswith(f"trainer.{name}=")]
    if name == "gradient_clip_algorithm":
        words.append("+trainer.gradient_clip_val=0.1")
    plus = "" if name in ("accelerator", "devices", "num_nodes", "precision", "max_epochs") else "+"
    result = fit_here(*words, f"{plus}trainer.{name}={value}")
    assert result["fast_path"] == (name in BOTH_PATHS)
    assert result["metrics"]["test/acc"] > 0


def test_an_invalid_value_is_refused_before_the_training():
    assert "trainer.accumulate_grad_batches=0 must be at least 1" in refusal("+trainer.accumulate_grad_batches=0")
    assert "trainer.gradient_clip_algorithm='l1' must be" in refusal("+trainer.gradient_clip_algorithm=l1")
    assert "trainer.accumulate_batches: there is no such setting" in refusal("+trainer.accumulate_batches=2")
    assert "set it by +trainer.gradient_clip_val=" in refusal("trainer.gradient_clip_val=1.0")


def make_page() -> str:
    properties = of_group("trainer")["trainer"]["properties"]
    lines = [
        "# Arguments of the Trainer",
        "",
        "Every argument of `lightning.pytorch.Trainer` may be set, as in `+trainer.accumulate_grad_batches=4`, except those in the",
        "second table. The fast path, on which built-in tasks train with data in memory, supports the arguments marked *both*; an",
        "argument marked *plain* selects Lightning's own loop if it is set to a value other than its default.",
        "",
        "| argument | path | meaning |",
        "| --- | --- | --- |",
    ]
    for name in [*ARGUMENTS, *OURS]:
        if name in properties:
            path = "plain" if name in PLAIN_PATH else "both"
            lines.append(f"| `{name}` | {path} | {properties[name]['description'].replace('|', chr(92) + '|')} |")
    lines += [
        "",
        "`threads` and `max_minutes` are additions of this project, not arguments of Lightning's Trainer.",
        "",
        "| refused argument | reason |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | {OWNED_BY_TRAINING[name]} |" for name in ARGUMENTS if name in OWNED_BY_TRAINING]
    return "\n".join(lines) + "\n"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == make_page(), f"run python -m {__name__}"


if __name__ == "__main__":
    PAGE.write_text(make_page())

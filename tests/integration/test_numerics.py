"""Floating-point and thread settings: what is set, whether it took effect, and what does not depend on it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.numerics import OFF, branch_for, strict_mode
from src.paths import ROOT
from tests.conftest import Command, Fit
from tests.helpers.numerics import LONG, clean, subnormals, threads

__all__ = ["threads"]


def environment_after(code: str, **values: str) -> dict[str, str]:
    """The environment of a new interpreter that has executed ``code``."""
    script = f"import json, os, sys\n{code}\nprint(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean(**values), check=True, capture_output=True
    )
    return dict(json.loads(done.stdout))


def test_the_environment_is_prepared_unless_the_user_or_an_earlier_import_has_decided() -> None:
    after = environment_after("import src")
    branch = branch_for(Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    assert after.get("MKL_CBWR") == (f"{branch},STRICT" if branch else None)
    assert (after["GOMP_SPINCOUNT"], after["KMP_BLOCKTIME"]) == ("10000", "1")

    after = environment_after("import src", MKL_CBWR="COMPATIBLE", OMP_WAIT_POLICY="passive")
    assert (after["MKL_CBWR"], "GOMP_SPINCOUNT" in after) == ("COMPATIBLE", False)

    after = environment_after("import types; sys.modules['torch'] = types.ModuleType('torch')\nimport src")
    assert not {"MKL_CBWR", "GOMP_SPINCOUNT"} & after.keys()


@pytest.mark.parametrize("value", ["", "nonsense", "AVX2"])
def test_a_mode_that_is_not_strict_is_recorded_as_off(value: str) -> None:
    code = "from src.numerics import strict_mode; os.environ['found'] = strict_mode()"
    assert environment_after(code, MKL_CBWR=value)["found"] == OFF


def test_the_record_says_which_mode_is_in_force(train: Command) -> None:
    [run] = train().runs
    assert run["environment"]["mkl_cbwr"] == strict_mode()  # this process inherited the same setting
    assert strict_mode() in (OFF, os.environ.get("MKL_CBWR"))


def test_no_subnormal_number_is_left_in_the_optimizer(fit_here: Fit) -> None:
    torch.set_flush_denormal(False)
    found = fit_here(*LONG, small=False)
    assert subnormals(found["directory"] / "checkpoints/last.ckpt") == (0, 2 * (784 * 32 + 32 + 32 * 10 + 10))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trainer.threads=0", "trainer.threads"),
        ("trainer.threads=many", "trainer.threads"),
        ("trainer.threads=1000", "supports at most"),
    ],
)
def test_a_wrong_number_of_threads_is_a_sentence(train_here: Command, words: str, sentence: str) -> None:
    done = train_here(words)
    assert (done.status, done.runs) == (2, [])
    assert sentence in done.stderr


def test_the_card_and_the_record_tell_the_threads(train_here: Command, threads: None) -> None:
    done = train_here("trainer.threads=2", "trainer=cpu")
    assert done.status == 0
    assert re.search(r"threads +2 ", done.stdout)
    [run] = done.runs
    assert run["environment"]["threads"] == 2
    assert run["samples_by_threads"] == {"2": 1024}  # two epochs of 512

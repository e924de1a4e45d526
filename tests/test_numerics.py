"""Floating-point and thread settings: what is set, whether it took effect, and what does not depend on it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from torch import nn

from src.fast.threads import ThreadTrial, independent_of_threads
from src.models.mlp import MLP
from src.numerics import OFF, branch_for, flush_subnormals, strict_mode
from src.paths import ROOT
from src.tasks.losses import make_loss
from tests.conftest import Command

Fit = Callable[..., dict[str, Any]]
# Long enough for Adam's means of units that are never active to decay: 31 % of its state is subnormal then, unless flushed.
LONG = ["experiment=article", "model.hidden=[32]", "data.batch_size=4", "data.train_size=4800", "trainer.max_epochs=1"]
INTEL, AMD = "vendor_id\t: GenuineIntel\n", "vendor_id\t: AuthenticAMD\n"


def clean(**values: str) -> dict[str, str]:
    """This environment without what ``src.numerics`` has set in it."""
    chosen = ("MKL_CBWR", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    return {key: value for key, value in os.environ.items() if key not in chosen} | values


def environment_after(code: str, **values: str) -> dict[str, str]:
    """The environment of a new interpreter that has executed ``code``."""
    script = f"import json, os, sys\n{code}\nprint(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean(**values), check=True, capture_output=True
    )
    return dict(json.loads(done.stdout))


def subnormals(checkpoint: Path) -> tuple[int, int]:
    """How many of the numbers in the optimizer's state are subnormal, and how many there are."""
    states = torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["state"].values()
    numbers = torch.cat([state[name].flatten() for state in states for name in ("exp_avg", "exp_avg_sq")])
    bits = numbers.view(torch.int32) & 0x7FFFFFFF  # compared as floats they may be taken for zero here, too
    return int(((bits > 0) & (bits < 0x00800000)).sum()), len(numbers)


@pytest.mark.parametrize(
    ("cpuinfo", "branch"),
    [
        (INTEL + "flags\t\t: fpu avx2 avx512f\n", "AVX512"),
        (INTEL + "flags\t\t: fpu avx avx2\n", "AVX2"),
        (INTEL + "flags\t\t: fpu avx\n", None),
        (AMD + "flags\t\t: fpu avx2 avx512f\n", None),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", None),
        ("", None),
    ],
)
def test_strict_products_are_chosen_by_the_processor(cpuinfo: str, branch: str | None) -> None:
    assert branch_for(cpuinfo) == branch


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


@pytest.mark.slow
def test_no_subnormal_number_is_left_by_jobs_of_a_sweep(command: Command) -> None:
    done = command("train", "-m", *LONG, "trainer.devices=1,2")
    assert [run["status"] for run in done.runs] == ["done", "done"]
    assert [subnormals(directory / "checkpoints/last.ckpt")[0] for directory in done.directories] == [0, 0]


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("with_two", "with_one", "chosen"), [(0.001, 0.002, 2), (0.003, 0.002, 1)])
def test_an_epoch_keeps_the_faster_number_of_threads(
    threads: None, with_two: float, with_one: float, chosen: int
) -> None:
    now, used = 0.0, []
    trial = ThreadTrial(2, clock=lambda: now)
    for _ in range(30):
        used.append(torch.get_num_threads())
        now += {2: with_two, 1: with_one}[used[-1]]
        trial.after_step()
    assert used == [2] * 10 + [1] * 10 + [chosen] * 10


def test_a_slow_first_step_does_not_count(threads: None) -> None:
    now = 0.0
    trial = ThreadTrial(2, clock=lambda: now)
    for step in range(20):
        now += 1.0 if step in (0, 1, 10, 11) else {2: 0.001, 1: 0.002}[torch.get_num_threads()]
        trial.after_step()
    assert torch.get_num_threads() == 2


def mlp(**options: Any) -> MLP:
    return MLP(input_shape=[4], outputs=3, hidden=[5], **options)


class Own(nn.Linear):
    """Might compute anything."""


def test_one_predicate_tells_whose_results_do_not_depend_on_threads() -> None:
    flush_subnormals()  # as every training does
    strict = strict_mode() != OFF

    def independent(
        net: nn.Module,
        kind: Any = torch.optim.Adam,
        precision: Precision | None = None,
        loss: str = "cross_entropy",
        batch_size: int = 64,
    ) -> bool:
        optimizer = kind(net.parameters(), lr=0.1)
        return independent_of_threads(net, make_loss(loss), optimizer, precision or Precision(), batch_size)

    assert independent(mlp(dropout=0.5)) == strict
    assert independent(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), loss="squared_error") == strict
    assert independent(mlp(activation="tanh"), batch_size=10_000) == strict
    assert independent(mlp(activation="silu"), batch_size=6_500) == strict
    assert not independent(mlp(activation="silu"), batch_size=10_000)  # of 5 units
    assert not independent(mlp(), loss="squared_error", batch_size=10_000)
    assert not independent(mlp(norm="layer"))
    assert not independent(mlp(norm="batch"))
    assert not independent(nn.Sequential(nn.Conv2d(1, 2, 3)))
    assert not independent(Own(4, 3))
    assert not independent(mlp(), torch.optim.NAdam)
    assert not independent(mlp(), precision=MixedPrecision("bf16-mixed", "cpu"))
    assert not independent(mlp(), precision=HalfPrecision("bf16-true"))
    replaced = mlp()
    replaced.layers[0].forward = lambda x: x.sum()  # type: ignore[method-assign]
    assert not independent(replaced)


def digests(threads: int | str, directory: Path) -> list[dict[str, Any]]:
    """What ``tests.digests`` found with so many threads."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.digests", str(threads), str(directory)],
        cwd=ROOT,
        env=clean(OMP_NUM_THREADS="4"),
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_weights_and_metrics_are_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    one, *others = [digests(threads, tmp_path / str(threads)) for threads in (1, 2, 3, 4, "auto")]
    assert {found["strict"] for found in one} == {strict_mode() != OFF}
    for found, *rest in zip(one, *others, strict=True):
        if found["independent"]:
            assert [other["weights"] for other in rest] == 4 * [found["weights"]], found["words"]
            # Images are evaluated some thousand at once, so that sigmoids round their losses differently.
            loosely = {"abs": 1e-6} if found["has_sigmoid"] else {"abs": 0}
            for other in rest:
                assert other["metrics"] == pytest.approx(found["metrics"], **loosely), found["words"]
    if strict_mode() != OFF:
        assert sum(found["independent"] for found in one) == len(one) - 5  # normalisation, bfloat16, large sigmoids


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trainer.threads=0", "trainer.threads"),
        ("trainer.threads=many", "trainer.threads"),
        ("trainer.threads=1000", "room for"),
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

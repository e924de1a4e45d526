"""Training on an NVIDIA GPU: its results, CUDA graphs, precisions, resumed runs and sweeps. Skipped without such a GPU."""

import logging
from pathlib import Path

import pytest
import torch

from src.fast.graph import ChunkGraph
from src.fast.steps import Steps
from tests.conftest import Command, Fit
from tests.helpers.outcome import curves, differences, outcome
from tests.helpers.resume import SHORT, Cut, assert_same_run
from tests.helpers.training import SMOOTH, weights

if not torch.cuda.device_count():
    pytest.skip("there is no NVIDIA GPU", allow_module_level=True)

# Twenty-one steps per epoch in chunks of four; the last chunk has a single, smaller batch.
GPU = ["trainer=gpu", "data.train_size=1300", "data.steps_per_execution=4"]
DOUBLE = ["trainer.precision=64-true", SMOOTH]


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of steps of each replay of a graph."""
    found: list[int] = []
    original = ChunkGraph.__call__

    def call(self: ChunkGraph, inputs: torch.Tensor, targets: torch.Tensor, rates: list[float]) -> torch.Tensor:
        logits = original(self, inputs, targets, rates)
        if self._replay is not None:
            found.append(len(rates))
        return logits

    monkeypatch.setattr(ChunkGraph, "__call__", call)
    return found


def assert_close(one: Path, other: Path, tolerance: float) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(other)[name].cpu(), value.cpu(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["schedule=cosine", "task.label_smoothing=0.1"],
        ["optimizer=adamw", "task.gradient_clip_norm=0.1"],
        ["optimizer=sgd", "schedule=step"],
        ["optimizer=rmsprop"],
        ["model.norm=batch"],
        ["callbacks=full"],
        ["experiment=article_squared_error"],
    ],
    ids=" ".join,
)
def test_a_gpu_computes_what_the_processor_computes(fit_here: Fit, words: list[str]):
    expected = fit_here(*GPU, *DOUBLE, *words, "trainer=cpu")
    found = fit_here(*GPU, *DOUBLE, *words)
    assert_close(expected["directory"], found["directory"], 1e-8)
    for name, value in expected["metrics"].items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-8), name


@pytest.mark.parametrize(
    "words", [[], ["schedule=cosine"], ["optimizer=adamw", "task.gradient_clip_norm=0.1"]], ids=" ".join
)
def test_a_training_by_graphs_equals_one_step_by_step(
    fit_here: Fit,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    replays: list[int],
    words: list[str],
):
    with caplog.at_level(logging.WARNING):
        graph = fit_here(*GPU, SMOOTH, *words)
    assert replays == [4] * 10  # the first of ten whole chunks is taken both ways
    assert not [record for record in caplog.records if "CUDA graph" in record.getMessage()]
    monkeypatch.setattr(Steps, "_make_graph", lambda self: None)
    stepwise = fit_here(*GPU, SMOOTH, *words)
    assert len(replays) == 10
    assert_close(stepwise["directory"], graph["directory"], 1e-5)
    assert curves(graph["directory"])["lr"] == curves(stepwise["directory"])["lr"]


@pytest.mark.parametrize("words", [[], ["trainer.precision=16-mixed"], ["model.dropout=0.0"]], ids=" ".join)
def test_a_repeated_run_is_equal_bit_for_bit(fit_here: Fit, words: list[str]):
    first, second = (fit_here(*SHORT, "trainer=gpu", *words) for _ in range(2))
    assert not differences(outcome(first["directory"]), outcome(second["directory"]))


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize(
    "words", [["trainer.precision=16-mixed"], ["model.dropout=0.0"], ["optimizer=sgd"]], ids=" ".join
)
def test_a_resumed_run_equals_an_uninterrupted_one(fit_here: Fit, tmp_path: Path, words: list[str], how: str):
    words = [*SHORT, "trainer=gpu", *words]
    whole = fit_here(*words)
    into = tmp_path / "cut"
    with pytest.raises(BaseException):  # noqa: B017, PT011  # an error or the signal's exception, as tests of the processor say
        fit_here(*words, extra=[Cut(5, how)], into=into)
    assert_same_run(fit_here(*words, into=into), whole)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true", "32-true"])
def test_precisions(train_here: Command, precision: str):
    done = train_here("trainer=gpu", f"trainer.precision={precision}", "callbacks=full", "trainer.max_epochs=3")
    assert done.status == 0, done.stderr
    [record] = done.runs
    assert record["metrics"]["val/acc"] > 0.3
    assert record["environment"]["accelerator"] == "cuda"
    assert record["environment"]["gpu"] == torch.cuda.get_device_name()


def test_metrics_of_the_device_and_a_profile(train_here: Command):
    done = train_here(*GPU, "debug=profile", "callbacks=system")
    assert done.status == 0, done.stderr
    [directory] = done.directories
    points = curves(directory)
    for name, low, high in [("percent", 0, 100), ("memory_mb", 100, 500_000), ("watt", 1, 2000), ("celsius", 5, 120)]:
        assert low <= points[f"system/gpu_{name}"][-1][1] <= high
    assert "cuda" in (directory / "profile.txt").read_text().lower()


def test_a_run_of_the_gpu_is_used_without_one(command: Command, train_here: Command):
    done = train_here("trainer=gpu")
    [run] = [directory.name for directory in done.directories]
    gpu = command("evaluate", run)
    cpu = command("evaluate", run, CUDA_VISIBLE_DEVICES="")
    assert gpu.status == cpu.status == 0, gpu.stderr + cpu.stderr
    resumed = command("train", f"resume={run}", "trainer.max_epochs=3", CUDA_VISIBLE_DEVICES="")
    assert resumed.status == 0 or "GPU" in resumed.stderr, resumed.stderr


@pytest.mark.parametrize(
    "words",
    [[], ["hydra.launcher.n_jobs=2"], ["sweep=mlp", "hydra.sweeper.n_trials=3", "hydra.launcher.n_jobs=2"]],
    ids=" ".join,
)
def test_sweeps(train: Command, words: list[str]):
    done = train("-m", "trainer=gpu", *words, *([] if words[:1] == ["sweep=mlp"] else ["seed=1,2,3"]))
    assert done.status == 0, done.stderr
    assert [record["environment"]["accelerator"] for record in done.runs] == ["cuda"] * 3
    assert {record["status"] for record in done.runs} <= {"done", "pruned"}


def test_a_limit_of_minutes_and_a_repeated_start(train: Command):
    done = train("trainer=gpu", "trainer.max_minutes=5")
    assert done.status == 0, done.stderr
    assert train().status == 0  # auto takes the GPU
    assert done.runs[-1]["environment"]["accelerator"] == "cuda"


def test_more_gpus_than_there_are(train: Command):
    count = torch.cuda.device_count()
    done = train("trainer=gpu", f"trainer.devices={count + 1}")
    assert done.status == 2
    assert f"at most {count} GPU" in done.stderr


def test_too_little_memory_is_reported_in_one_line(train_here: Command):
    torch.cuda.set_per_process_memory_fraction(1e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        done = train_here("trainer=gpu", "model.hidden=[9000,9000]")  # 350 MB of weights, and Adam keeps two of each
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert done.status == 1
    assert "Traceback" not in done.stderr
    assert "data.batch_size" in done.stderr


@pytest.mark.parametrize("example", ["cnn", "text", "gan", "stream", "resnet"])
def test_modules_of_ones_own(command: Command, example: str):
    size = {"cnn": "data.train_size=640", "gan": "data.train_size=640", "resnet": "data.size=160"}.get(
        example, "data.size=640"
    )
    done = command("train", f"experiment=example_{example}", "trainer=gpu", "trainer.max_epochs=1", size)
    assert done.status == 0, done.stderr
    assert done.runs[0]["environment"]["accelerator"] == "cuda"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_equal_one(fit_here: Fit, train: Command):
    one = fit_here("trainer=gpu", *DOUBLE)
    done = train("trainer=gpu", "trainer.devices=2", *DOUBLE)
    assert done.status == 0, done.stderr
    assert_close(one["directory"], done.directories[0], 1e-8)

"""task=prototypical: a run like any other, resumed exactly and evaluated in any number of processes."""

import json
from pathlib import Path

import pytest

from src.analysis.evaluation import measure
from src.errors import Interrupted
from src.records.record import Record
from tests.conftest import SMALL, Command, Fit
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import Cut

FEW = ["experiment=prototypical", "trainer=cpu", "task.episodes=8", "task.eval_episodes=6", "trainer.max_epochs=2"]


def test_it_resumes_exactly_with_rotated_and_augmented_episodes(tmp_path: Path):
    words = [*SMALL, *FEW, "task.rotations=true", "task.ways=9", "data.augment.shift=2", "logger=csv"]
    fit_in(tmp_path / "whole", words)
    for batches in (3, 7):
        with pytest.raises(Interrupted):
            fit_in(tmp_path / "cut", words, [Cut(batches, "told")])
    fit_in(tmp_path / "cut", words)
    assert differences(outcome(tmp_path / "cut"), outcome(tmp_path / "whole")) == []


def test_two_processes_train_and_measure_what_one_does(train: Command, fit_here: Fit):
    trained = train(*FEW, "trainer.devices=2", "data.train_size=2000")
    assert trained.status == 0, trained.stderr
    [run], [directory] = trained.runs, trained.directories
    alone = fit_here(*FEW, "data.train_size=2000")["metrics"]
    for name in ("train/loss", "train/acc", "val/loss", "val/acc", "val/acc_interval", "test/acc", "test/acc_interval"):
        assert alone[name] == pytest.approx(run["metrics"][name], rel=1e-4)
    logged = {name: one for name, one in run["metrics"].items() if name.startswith("test")}
    assert measure(Record.load(directory)).entry["metrics"] == pytest.approx(logged, rel=1e-6)


def test_a_run_is_evaluated_with_other_episodes_and_other_commands_refuse_it(train_here: Command, here: Command):
    train_here(*FEW, "logger=none", "data.train_size=2000")
    found = here("evaluate", "latest", "shots=20", "ways=2", "queries=30", "--json")
    entry = json.loads(found.stdout)
    assert entry["settings"] == {"eval_shots": 20, "eval_ways": 2, "eval_queries": 30}
    [run] = found.runs
    assert run["evaluations"] == [entry]
    assert entry["metrics"]["test/acc"] > run["metrics"]["test/acc"]  # with more samples of fewer classes

    once = here("evaluate", "latest", "episodes=1", "--json")
    assert json.loads(once.stdout)["metrics"]["test/acc_interval"] is None  # of one episode

    for module, words, message in (
        ("evaluate", ["ways=5"], "error: task.eval_ways=5 must be at most 4, the number of classes in task.held_out"),
        ("predict", ["docs/digits/2-curl.png"], "this command is for task=classification"),
        ("export", ["--format", "onnx"], "this command is for task=classification"),
    ):
        refused = here(module, "latest", *words)
        assert refused.status != 0
        assert message in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.held_out=[6,7,8]"], "task.eval_ways=4 must be at most 3, the number of classes in task.held_out"),
        (["task.held_out=[7,8,9,10]"], "task.held_out=[7, 8, 9, 10] must name classes from 0 to 9, each once"),
        (["data.per_class=19"], "task.shots=5 and task.queries=15: an episode needs 20 training samples of each class"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(train_here: Command, words: list[str], message: str):
    refused = train_here(*FEW, "logger=none", *words, small="per_class" not in words[0])
    assert refused.status in (1, 2)
    [line] = [line for line in refused.stderr.splitlines() if "error" in line]
    assert message in line
    assert "Traceback" not in refused.stdout + refused.stderr

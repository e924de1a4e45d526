"""What watches a training, and what it leaves."""

import json

from tests.conftest import Command
from tests.helpers.callbacks import read


def test_two_processes_leave_the_same_results(train: Command):
    words = ["data.steps_per_execution=4", "trainer.precision=64-true"]  # so exact that no sample changes its class
    one, two = train(*words), train(*words, "trainer.devices=2")
    assert (one.status, two.status) == (0, 0), two.stderr
    first, second = (json.loads((directory / "results.json").read_text()) for directory in two.directories)
    assert first["confusion"] == second["confusion"]
    assert sum(map(sum, second["confusion"])) == 10_000
    assert [mistake["index"] for mistake in first["mistakes"]] == [mistake["index"] for mistake in second["mistakes"]]


# -- the tabs of TensorBoard


def test_to_watch_changes_nothing_on_two_processes_either(train: Command):
    done = train("-m", "callbacks=default,full", "trainer.devices=2")
    assert done.status == 0, done.stdout + done.stderr
    one, other = done.runs
    assert one["metrics"] == other["metrics"]
    first, second = (directory / "results.json" for directory in done.directories)
    assert first.read_text() == second.read_text()
    seen = read(done.directories[1])
    assert {"mistakes", "confusion_matrix", "reliability", "first_layer", "inputs"} <= set(seen.Tags()["images"])
    assert len((done.directories[1] / "00016/penultimate/tensors.tsv").read_text().splitlines()) == 1000

"""Configurations and their replicates; the baseline."""

import shutil
from pathlib import Path

import pytest

from src.errors import ConfigError, UserError
from src.records.baseline import BASELINE, find_baseline, pin, pinned_id, removed_message, unpin
from src.records.record import Record
from src.records.replicates import check_folded, configuration_of, group, replicates_of
from src.records.trash import garbage, put_aside
from tests.conftest import MakeRun


@pytest.fixture(autouse=True)
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))


def test_runs_that_differ_only_in_seed_and_fold_are_replicates(make_run: MakeRun):
    one = [make_run(f"seed={seed}", f"name=n{seed}", tags=[f"t{seed}"], accuracy=seed / 10) for seed in (1, 2, 4)]
    other = make_run("seed=1", "optimizer.lr=0.01")
    first, second = group([*one, other])
    assert (first.used, first.left_out, second.used) == (one, [], [other])
    value = first.metric("best/val/acc")
    assert value is not None
    assert (value.n, value.mean, value.std) == (3, pytest.approx(0.7 / 3), pytest.approx(0.152752523))
    single = second.metric("best/val/acc")
    assert single is not None
    assert (single.n, single.std) == (1, None)
    assert first.metric("val/f1") is None


def test_runs_on_other_data_are_not_replicates(make_run: MakeRun):
    runs = [make_run("seed=1"), make_run("seed=2", "data=fashion_mnist")]
    assert len(group(runs)) == 2


def test_runs_that_are_not_done_or_repeat_a_seed_are_left_out(make_run: MakeRun, outputs: Path):
    first, failed, pruned, again = (
        make_run("seed=1"),
        make_run("seed=2", status="failed"),
        make_run("seed=3", pruned_in_epoch=2),
        make_run("seed=1"),
    )
    copy = Path(shutil.copytree(again.directory, outputs / "runs" / "copy"))
    found = replicates_of(first, [first, failed, pruned, again, Record.load(copy)])
    assert found.used == [again]
    reasons = [reason for _, reason in found.left_out]
    assert reasons == [f"repeats {again.values['id']}", "failed", "pruned in epoch 2", "a copy"]


def test_replicates_are_the_runs_with_the_same_configuration(make_run: MakeRun):
    def changed(group: str, **values: object) -> Record:
        record = make_run("seed=1")
        record.values["config"][group] = {**record.values["config"][group], **values}
        return record

    first, earlier, unlike = make_run("seed=1"), make_run("seed=2"), make_run("seed=1")
    del earlier.values["config"]["freeze"], earlier.values["config"]["trainer"]["threads"]  # not recorded then
    unlike.values["config"]["init_from"] = {"run": "r1", "path": None, "strict": True}
    same = [
        first,
        make_run("seed=2", "data.fold=null", "name=other", "tags=[one]"),
        earlier,
        changed("optimizer", _target_="elsewhere.Adam"),
        changed("data", dir="/elsewhere"),
        changed("callbacks", last={**first.values["config"]["callbacks"]["last"], "mode": "max"}),
    ]
    other = [
        make_run("seed=1", "optimizer.lr=0.5"),
        make_run("seed=1", "monitor=val/loss"),
        changed("optimizer", betas=None),
        changed("data", _target_="src.data.mnist.FashionMNIST"),
        changed("callbacks", last=None),
        unlike,
    ]
    runs = [*same, *other]
    assert [configuration_of(run) == configuration_of(first) for run in runs] == [run in same for run in runs]
    assert replicates_of(first, runs).runs == sorted(same, key=lambda record: record.started)


def test_any_setting_or_group_can_be_grouped_over(make_run: MakeRun):
    runs = [make_run(f"seed={seed}", f"optimizer={name}") for seed in (1, 2) for name in ("sgd", "adam")]
    assert [len(one.used) for one in group(runs, ["seed"])] == [2, 2]
    assert [len(one.used) for one in group(runs, ["optimizer"])] == [2, 2]
    assert [len(one.used) for one in group(runs, ["optimizer", "seed"])] == [4]
    check_folded(["seed", "data.fold", "optimizer", "optimizer.lr", "model.dropout"], runs)
    with pytest.raises(ConfigError, match=r"did you mean 'optimizer\.lr'"):
        check_folded(["optimizer.lrr"], runs)


# -- baseline


def test_runs_are_compared_with_the_mean_of_the_baseline(make_run: MakeRun):
    runs = [
        make_run("seed=1", accuracy=0.8),
        make_run("seed=2", accuracy=0.9),
        make_run("model.dropout=0.5", accuracy=0.95),
    ]
    elsewhere, failed = make_run("data=fashion_mnist"), make_run("model.dropout=0.5", accuracy=None, status="failed")
    assert find_baseline(runs) is None
    pin(runs[0])
    found = find_baseline([*runs, elsewhere, failed])
    assert found is not None
    assert (found.record, found.metric, found.value.n) == (runs[0], "best/val/acc", 2)
    assert found.value.mean == pytest.approx(0.85)
    assert found.difference(runs[2]) == pytest.approx(0.1)
    assert found.difference(runs[2], 0.8) == pytest.approx(-0.05)
    assert (found.difference(elsewhere), found.difference(failed)) == (None, None)
    unpin()
    assert (pinned_id(), find_baseline(runs)) == (None, None)


def test_only_a_run_with_a_result_can_be_the_baseline(make_run: MakeRun):
    for record in (
        make_run(status="failed"),
        make_run(accuracy=None, best={"metric": "val/acc", "value": None, "epoch": None, "checkpoint": None}),
    ):
        with pytest.raises(UserError):
            pin(record)
    assert pinned_id() is None


def test_the_baseline_is_never_removed(make_run: MakeRun):
    record, other = make_run("seed=1"), make_run("seed=2")
    pin(record)
    with pytest.raises(UserError, match="is the baseline"):
        put_aside(record)
    items, kept = garbage([record, other], [record, other])
    assert [item.what for item in items] == [other.values["id"]]
    assert kept == [f"{record.values['id']} stays: it is the baseline."]


def test_a_baseline_that_is_gone_is_reported(make_run: MakeRun, outputs: Path):
    record, other = make_run("seed=1"), make_run("seed=2")
    pin(record)
    assert removed_message([record, other]) is None
    assert find_baseline([other]) is None
    assert f"the baseline {record.values['id']} has been removed" in str(removed_message([other]))
    (outputs / BASELINE).write_bytes(b"\xff\x00")
    assert find_baseline([record, other]) is None

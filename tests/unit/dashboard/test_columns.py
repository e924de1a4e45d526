"""The groups of tags in Time Series, and the columns of HParams."""

import pytest

from src.dashboard.columns import hparams_columns, spread
from src.dashboard.plugins import displayed
from src.records.replicates import group
from tests.conftest import MakeRun


def test_train_and_val_are_the_first_groups_of_tags():
    kept = ["train/loss", "val/acc", "val_loss", "gan/d_loss", "weights/layers.0.weight"]
    assert [displayed(tag) for tag in kept] == kept
    moved = [
        *("lr", "lr/pg2", "samples", "system/cpu_percent", "train/loss_step", "gradient_norm"),
        *("best/val/acc", "test/acc", "test_loss", "inputs", "mistakes", "gradients/layers.0.weight", "first_layer"),
    ]
    assert all(displayed(tag).endswith(f"/{tag}") for tag in moved)
    assert min(displayed(tag) for tag in moved) > "val"


def test_the_learning_rate_is_the_first_column(make_run: MakeRun):
    made = [
        make_run(f"data.batch_size={size}", f"optimizer={optimizer}", f"optimizer.lr={lr}", f"seed={seed}")
        for size, optimizer, lr in ((32, "adam", 0.1), (64, "sgd", 0.2))
        for seed in (1, 2)
    ]
    found = hparams_columns(made, folded=True)
    assert [info.display_name for info in found.hparam_infos][:2] == ["lr", "batch_size"]
    assert "seed" not in {info.name for info in found.hparam_infos}
    [optimizer] = [info for info in found.hparam_infos if info.name == "optimizer"]
    assert list(optimizer.domain_discrete) == ["adam", "sgd"]
    assert [info.display_name for info in found.metric_infos][:4] == [
        "best/val/acc",
        "best/val/acc std",
        "n",
        "val/acc",
    ]
    alone = hparams_columns(made[:2], folded=False)
    assert [info.display_name for info in alone.hparam_infos] == ["seed"]
    # TensorBoard shows no table without columns.
    assert [info.display_name for info in hparams_columns(made[:2], folded=True).hparam_infos] == ["lr"]


def test_the_spread_is_that_of_the_runs_that_count(make_run: MakeRun):
    runs = [make_run(f"seed={seed}", accuracy=value) for seed, value in ((1, 0.25), (2, 0.75))]
    [replicates] = group([*runs, make_run("seed=3", accuracy=0.0, status="failed")])
    found = spread(replicates)
    assert found["replicates/n"] == 2
    assert found["replicates/std/val/acc"] == pytest.approx(0.125**0.5)

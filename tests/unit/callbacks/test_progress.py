"""The line of an epoch."""

import pytest

from src.callbacks.progress import epoch_line

MNIST = {"train/loss": 0.05704, "train/acc": 0.98129, "val/loss": 0.08671, "val/acc": 0.97541}


def test_metrics_of_a_stage_are_written_together():
    line = epoch_line(3, 10, MNIST, 1.52)
    assert line == "epoch  3/10  train loss 0.0570 acc 0.9813  val loss 0.0867 acc 0.9754  1.5 s"


@pytest.mark.parametrize(("epoch", "epochs", "seconds"), [(1, 1, 0.0), (7, 100, 99.9), (999, 1000, 54321.0)])
def test_a_line_has_at_most_80_columns(epoch: int, epochs: int, seconds: float):
    many = {f"val/metric_{number}": 1e-7 * number for number in range(30)}
    for metrics in (MNIST, many, {}, {"train_loss": float("nan"), "val_loss": 123456.789}):
        line = epoch_line(epoch, epochs, metrics, seconds)
        assert len(line) <= 80
        assert line.endswith(f"{seconds:.1f} s")
        assert not metrics or next(iter(metrics)).rpartition("/")[2] in line


def test_small_and_large_values_keep_their_digits():
    line = epoch_line(1, 1, {"train_loss": 1.2345e-05, "val_loss": 54321.0}, 1.0)
    assert line == "epoch 1/1  train_loss 1.23e-05 val_loss 5.432e+04  1.0 s"

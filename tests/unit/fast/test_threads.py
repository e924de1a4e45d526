"""The number of threads of an epoch."""

from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from torch import nn

from src.fast.threads import ThreadTrial, independent_of_threads
from src.models.mlp import MLP
from src.numerics import OFF, flush_subnormals, strict_mode
from src.tasks.losses import make_loss
from tests.helpers.numerics import threads

__all__ = ["threads"]


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
    assert not independent(mlp(), loss="focal")
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

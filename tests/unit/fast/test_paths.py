"""The two ways of training: Lightning's own loop, and chunks of steps where nothing needs single ones."""

import copy
from collections.abc import Callable
from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy

from src.data.chunks import Chunk
from src.data.mnist import MNIST
from src.fast.classification import obstacle
from src.fast.steps import StepContext, Steps
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from src.tasks.losses import make_loss
from src.tasks.regression import Regressor
from tests.helpers.paths import StepHook


def test_what_sees_single_steps_needs_lightnings_loop():
    data = MNIST()
    assert obstacle(Classifier, data, [ModelCheckpoint(every_n_epochs=1), StopEarly(), pl.Callback()]) is None
    by_steps = ModelCheckpoint(every_n_train_steps=3)
    listening = pl.callbacks.LambdaCallback(on_after_backward=lambda *_: None)
    chunks_and_steps = StepHook()
    chunks_and_steps.accepts_chunks = True  # type: ignore[attr-defined]
    for callback in (
        by_steps,
        listening,
        StepHook(),
        chunks_and_steps,
        LearningRateMonitor(),
        pl.callbacks.TQDMProgressBar(),
    ):
        assert type(callback).__name__ in str(obstacle(Classifier, data, [callback]))

    class Mine(Classifier):
        pass

    assert obstacle(Regressor, data, []) is None
    assert obstacle(Mine, data, []) == "Mine is another task than Classifier and Regressor"
    assert "LightningDataModule" in str(obstacle(Classifier, pl.LightningDataModule(), []))


class StopEarly(pl.callbacks.EarlyStopping):
    def __init__(self) -> None:
        super().__init__(monitor="val/acc")


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, partial(torch.optim.Adam, fused=True), torch.optim.Adam])
def test_a_scaled_loss_gives_the_same_steps(optimizer: Callable[..., torch.optim.Optimizer], clip: float | None):
    """16-mixed scales the loss; it needs a GPU, its scaler does not."""
    torch.manual_seed(0)
    before, chunk = MLP(input_shape=[4], outputs=3, norm="layer", dropout=0.2), some_chunk()
    after = []
    for scaler in (None, torch.amp.GradScaler("cpu")):
        net = copy.deepcopy(before)
        precision = MixedPrecision("16-mixed", "cpu", scaler) if scaler else Precision()
        steps = []
        context = StepContext(
            task=net,
            net=net,
            loss=make_loss("cross_entropy"),
            optimizer=optimizer(net.parameters(), lr=0.1),
            schedule=None,
            gradient_clip_norm=clip,
            precision=precision,
            strategy=SingleDeviceStrategy(torch.device("cpu")),
            count_step=lambda steps=steps: steps.append(1),
            seed=0,
            rank=0,
            world_size=1,
            num_nodes=1,
            steps_per_epoch=2,
            batch_size=8,
            steps_per_execution=2,
            varies_threads=False,
        )
        losses, logits = Steps(context).take(context, chunk, epoch=0)
        assert (len(losses), len(logits), len(steps)) == (2, 12, 2)
        after.append(list(net.parameters()))
    for one, other in zip(*after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.equal(after[0][0], next(before.parameters()))


def some_chunk() -> Chunk:
    return Chunk(torch.randn(12, 4), torch.randint(3, (12,)), [8, 4], [8, 4], 0)

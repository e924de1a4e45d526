"""A run of a module that was not written for this project, interrupted anywhere and resumed, ends as the uninterrupted one."""

from pathlib import Path

import pytest

from src.errors import Interrupted
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import Cut

AUTOENCODER = ["experiment=example_autoencoder", "data.train_size=320", "task.hidden=16", "task.latent=4"]
TEXT = ["experiment=example_text", "data.size=400", "model.hidden=8", "schedule.patience=0", "optimizer.lr=0.1"]
GAN = ["experiment=example_gan", "data.train_size=320", "task.hidden=16"]
STREAM = ["experiment=example_stream", "data.size=320"]
SLOW = pytest.mark.slow
SHORT = ["trainer.max_epochs=3", "logger=both"]


def interrupted(directory: Path, words: list[str], *cuts: int) -> None:
    for batches in cuts:
        with pytest.raises(Interrupted):
            fit_in(directory, words, [Cut(batches, "told")])
    fit_in(directory, words)


@pytest.mark.parametrize(
    ("words", "cuts"),
    [
        (AUTOENCODER, (5,)),  # at the end of an epoch
        (AUTOENCODER, (2, 1, 1, 3)),
        pytest.param([*AUTOENCODER, "+trainer.accumulate_grad_batches=2"], (1,), marks=SLOW),
        ([*AUTOENCODER, "+trainer.accumulate_grad_batches=2"], (8, 3)),
        ([*AUTOENCODER, "+trainer.val_check_interval=2"], (2,)),
        pytest.param([*AUTOENCODER, "+trainer.val_check_interval=2"], (3, 4), marks=SLOW),
        ([*AUTOENCODER, "+trainer.max_steps=12"], (5,)),
        pytest.param([*AUTOENCODER, "+trainer.max_steps=12"], (7,), marks=SLOW),
        ([*AUTOENCODER, "+trainer.check_val_every_n_epoch=2"], (6,)),
        pytest.param(TEXT, (10,), marks=SLOW),
        (TEXT, (3, 9)),
        (GAN, (3, 5)),
        (STREAM, (10,)),
        pytest.param(STREAM, (4, 8), marks=SLOW),
        pytest.param([*STREAM, "data.workers=0"], (4, 8), marks=SLOW),
    ],
    ids=str,
)
def test_interrupted_and_resumed(tmp_path: Path, words: list[str], cuts: tuple[int, ...]):
    interrupted(tmp_path / "cut", [*words, *SHORT], *cuts)
    fit_in(tmp_path / "whole", [*words, *SHORT])
    assert differences(outcome(tmp_path / "cut"), outcome(tmp_path / "whole")) == []

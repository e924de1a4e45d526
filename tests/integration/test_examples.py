"""The examples whose training takes a second or two; see also tests/slow/test_examples.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.mixins import ModuleTests


class TestRegression(ModuleTests):
    words = ("experiment=example_csv", "trainer.max_epochs=3", "data.target=price", "task.lr=0.03")

    @classmethod
    def write_data(cls, folder: Path) -> Sequence[str]:
        random = np.random.default_rng(0)
        inputs = random.normal(size=(200, 3))
        prices = inputs @ [2.0, -1.0, 0.5] + 0.1 * random.normal(size=200)
        table = np.column_stack([prices, inputs])
        np.savetxt(folder / "houses.csv", table, delimiter=",", header="price,rooms,age,area", comments="")
        return [f"data.path={folder / 'houses.csv'}"]


@pytest.mark.slow
class TestAutoencoder(ModuleTests):
    words = ("experiment=example_autoencoder", "trainer.max_epochs=3", "data.train_size=320", "task.hidden=32")
    overfit_words = ("task.gamma=1.0", "task.lr=0.01")

"""Only what stands on the list is called, whatever a configuration or a checkpoint names."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch import callbacks

from src.errors import ConfigError
from src.paths import ROOT
from tests.conftest import SMALL, Finished, copy_of_the_project


def test_a_name_is_refused_without_importing_its_module():
    code = (
        "import sys\nfrom src.config.targets import check_name\nfrom src.errors import ConfigError\n"
        "try:\n    check_name('antigravity.fly', 'model')\nexcept ConfigError:\n    sys.exit('antigravity' in sys.modules)\n"
        "sys.exit('accepted')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


# -- what would be accepted and then ignored


def test_callbacks_from_python_are_checked_before_training(fit_here):
    class Never(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            raise AssertionError

    with pytest.raises(ConfigError, match="BatchSizeFinder"):
        fit_here(extra=[Never(), callbacks.BatchSizeFinder()])


def test_callbacks_of_lightning_that_work_are_accepted(fit_here):
    working = [callbacks.LearningRateMonitor(), callbacks.Timer(), callbacks.DeviceStatsMonitor()]
    fit_here("trainer.max_epochs=1", extra=working)


def test_what_would_be_ignored_is_refused_and_a_constructor_may_read_weights(
    train_several: Callable[..., list[Finished]], tmp_path: Path
):
    project = copy_of_the_project(tmp_path / "project")
    files = {
        "src/models/mine.py": "import lightning.pytorch as pl\n\n\nclass Mine(pl.LightningModule):\n"
        "    def __init__(self, *, input_shape, outputs):\n        super().__init__()\n",
        "conf/model/mine.yaml": "_target_: src.models.mine.Mine\n",
        "src/models/reads.py": "from torch import nn\n\n\nclass Reads(nn.Module):\n"
        "    def __init__(self, *, input_shape, outputs):\n        super().__init__()\n"
        "        self.layer = nn.Linear(784, outputs)\n        self.scale = float(self.layer.weight.std())\n\n"
        "    def forward(self, x):\n        return self.layer(x.flatten(1)) * self.scale\n",
        "conf/model/reads.yaml": "_target_: src.models.reads.Reads\n",
        "src/callbacks/largest.py": "from lightning.pytorch.callbacks import BatchSizeFinder\n\n\n"
        "class Largest(BatchSizeFinder):\n    pass\n",
        "conf/callbacks/largest.yaml": "largest:\n  _target_: src.callbacks.largest.Largest\n",
        "conf/schedule/mine.yaml": "_target_: src.optim.schedules.mine\n",
    }
    for name, text in files.items():
        (project / name).write_text(text)
    with (project / "src/optim/schedules.py").open("a") as file:
        file.write(
            "\n\ndef mine(optimizer, *, steps_per_epoch, max_epochs) -> LRScheduler:\n"
            "    return {'scheduler': StepLR(optimizer, 1)}\n"
        )
    network, callback, schedule, reads = train_several(
        ["model=mine"],
        ["callbacks=largest"],
        [*SMALL, "schedule=mine"],
        [*(word for word in SMALL if not word.startswith("model.")), "model=reads"],
        cwd=project,
    )
    for done, status, message in (
        (network, 2, "error: model._target_='src.models.mine.Mine' is a LightningModule"),
        (callback, 2, "error: callbacks.largest is a BatchSizeFinder of Lightning's"),
        (schedule, 1, "error: the schedule returned a dict: it must return one scheduler"),
    ):
        assert done.status == status
        assert message in done.stderr
        assert status == 1 or len(done.stderr.splitlines()) == 1
    assert reads.status == 0, reads.stderr
    assert [run["status"] for run in reads.runs] == ["done"]  # the others wrote nothing

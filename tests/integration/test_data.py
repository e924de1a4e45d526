"""The data set: whole, split by the seed, shuffled by (seed, epoch), each sample once an epoch on any number of ranks."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.paths import ROOT
from src.training.weights import load_model
from tests.conftest import Command, Finished, copy_of_the_project
from tests.helpers.data import archives
from tests.helpers.pictures import folder_of_images


def test_many_processes_may_unpack_at_once_and_one_be_killed(tmp_path: Path):
    raw = archives(tmp_path)
    code = (
        "import sys; from pathlib import Path; from src.data.archives import unpack\n"
        "names = ['train-images-idx3-ubyte.gz', 't10k-images-idx3-ubyte.gz']\n"
        "unpack(Path(sys.argv[1]), [(n, m) for n, m in zip(names, sys.argv[2:])])"
    )
    md5s = ["f68b3c2dcbeaaa9fbdd348bbdeb94873", "9fb629c4189551a2d022fa330f9573f3"]
    starts = [subprocess.Popen([sys.executable, "-c", code, str(raw), *md5s], cwd=ROOT) for _ in range(6)]
    starts[0].kill()
    assert [start.wait(60) for start in starts[1:]] == [0] * 5
    starts[0].wait(60)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        assert (raw / name).read_bytes() == gzip.decompress((raw / f"{name}.gz").read_bytes())


# -- what a data set may load


@pytest.mark.slow
def test_the_commands_name_what_is_wrong_with_a_data_set(command: Command, tmp_path: Path):
    project = copy_of_the_project(tmp_path / "project")
    (project / "src/data/tiny.py").write_text(
        "import os\nimport torch\nfrom src.data.module import TensorData\n\n\nclass Tiny(TensorData):\n"
        "    input_shape, classes = (2,), 3\n\n    def load(self, train):\n"
        "        labels = torch.arange(90, dtype=torch.uint8) % int(os.environ.get('CLASSES', 3))\n"
        "        return torch.rand(90, 2), labels\n"
    )
    (project / "conf/data/tiny.yaml").write_text("_target_: src.data.tiny.Tiny\nval_size: 30\n")

    def fails(status: int, message: str, module: str, *words: str, **env: str) -> None:
        done = command(module, *words, cwd=project, **env)
        assert done.status == status
        assert message in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert "lower optimizer.lr" not in done.stderr

    fails(2, "data.val_size=-1 must be at least 0", "train", "data=tiny", "data.val_size=-1")
    fails(1, "error: data.val_size=90 leaves nothing to train on", "train", "data=tiny", "data.val_size=90")
    trained = command("train", "data=tiny", "trainer.max_epochs=1", cwd=project)
    assert trained.status == 0, trained.stderr
    wrong = "set: the label of sample 3 is 3, and labels are whole numbers from 0 to 2"
    fails(1, f"Tiny, test {wrong}", "evaluate", "latest", CLASSES="4")
    assert [run["status"] for run in trained.runs] == ["failed", "done"]


# -- tables


def table(folder: Path, rows: int = 300) -> str:
    lines = [f"{row % 17},{'red' if row % 3 else 'blue'},{'high' if row % 17 > 8 else 'low'}" for row in range(rows)]
    (folder / "table.csv").write_text("\n".join(["number,colour,level", *lines]))
    return f"data.path={folder / 'table.csv'}"


def test_a_table_is_trained_and_evaluated_by_the_commands(train_here: Command, command: Command, tmp_path: Path):
    words = ["data=csv", table(tmp_path), "data.target=level", "trainer.max_epochs=20", "model.hidden=[8]"]
    done = train_here(*words, "optimizer.lr=0.05", small=False)
    assert done.status == 0, done.stderr
    [run] = done.runs
    assert run["metrics"]["test/acc"] == 1.0
    assert run["best"]["metric"] == "val/acc"
    measured = command("evaluate", "latest")
    assert measured.status == 0, measured.stderr
    assert "test/acc   1.000" in measured.stdout


def test_a_search_for_a_model_of_a_table_ends_with_its_time(
    train_several: Callable[..., list[Finished]], tmp_path: Path
):
    words = ["sweep=auto", "data=csv", table(tmp_path), "data.target=level", "trainer=cpu", "hydra.launcher.n_jobs=1"]
    endless = ["trainer.max_epochs=100000", "callbacks.early_stopping.patience=100000", "hydra.sweeper.pruner=none"]
    done, resumed = train_several(
        ["-m", *words, *endless, "hydra.sweeper.minutes=0.03"], ["-m", "resume=latest"], cwd=ROOT
    )
    assert (done.status, resumed.status) == (0, 0), done.stderr + resumed.stderr
    assert "training any number of trials in at most 0.03 min, such as mlp on csv" in done.stdout
    assert "best: best/val/loss" in done.stdout
    assert "nothing to resume; hydra.sweeper.minutes=N searches longer" in resumed.stdout
    [run] = done.runs
    assert run["status"] == "done"
    assert run["metrics"]["test/acc"] > 0.5
    assert "the time of the search was up after epoch" in " ".join(one["text"] for one in run["warnings"])
    # The first trial of conf/sweep/auto.yaml.
    assert (run["config"]["model"]["hidden"], run["config"]["optimizer"]["lr"]) == ([256, 128], 0.002)


def test_what_is_wrong_with_a_table_is_reported_before_a_run_begins(train_here: Command, tmp_path: Path):
    path = table(tmp_path)

    def fails(message: str, *words: str, status: int = 2) -> None:
        done = train_here("data=csv", *words, small=False)
        assert done.status == status
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not done.runs

    fails("data.target is missing", path)
    fails("data.path is missing", "data.target=level")
    fails("data.target=levl: ", path, "data.target=levl")
    fails("does not exist", "data.path=no/such.csv", "data.target=level")
    fails("data.val_size=1.5 must be an integer or below 1", path, "data.target=level", "data.val_size=1.5")
    (tmp_path / "table.csv").write_text("a,level\n1,low\n,high\n")
    fails("row 3, column 'a': the value is missing: set data.missing=mean", path, "data.target=level", status=1)


@pytest.mark.slow
def test_a_cross_validation_trains_every_fold_and_shows_a_row_for_each_configuration(command: Command, tmp_path: Path):
    words = ["data=csv", table(tmp_path), "data.target=level", "trainer.max_epochs=2", "model.hidden=[8]"]
    cpu = ["trainer.accelerator=cpu", "trainer.devices=1"]
    done = command("train", "-m", *words, "data.folds=3", "data.fold=all", "optimizer=sgd,adam", *cpu)
    assert done.status == 0, done.stderr
    assert sorted(run["config"]["data"]["fold"] for run in done.runs) == [0, 0, 1, 1, 2, 2]
    [board] = done.outputs.glob("sweeps/*/leaderboard.md")
    rows = [line for line in board.read_text().splitlines() if line.startswith("| done")]
    assert [row.count(" 00") for row in rows] == [3, 3]  # the jobs of each row


# -- folders of images


@pytest.mark.slow
def test_a_folder_of_images_is_trained_on_two_devices_and_evaluated_by_the_commands(command: Command, tmp_path: Path):
    folder = folder_of_images(tmp_path / "images", {"blue": 30, "green": 40, "red": 50})
    words = [f"data.dir={folder}", "data.size=8", "data.num_workers=1", "data.batch_size=10", "trainer.max_epochs=3"]
    flip = "data.transforms=[{name: RandomHorizontalFlip}]"
    done = command(
        "train", "data=image_folder", *words, flip, "trainer.accelerator=cpu", "trainer.devices=2", "model.hidden=[8]"
    )
    assert done.status == 0, done.stderr
    [run] = done.runs
    assert run["metrics"]["test/acc"] == 1.0
    assert run["best"]["metric"] == "val/acc"
    measured = command("evaluate", "latest")
    assert measured.status == 0, measured.stderr
    assert "test/acc   1.000" in measured.stdout
    predicted = command("predict", "latest", str(folder / "red"), "--csv")
    assert predicted.status == 0, predicted.stderr
    assert predicted.stdout.count(".png,red,") == 50
    wrong = command("train", "data=image_folder", *words, "data.transforms=[{name: Flip}]")
    assert wrong.status == 2
    assert "data.transforms[0].name=Flip is none of torchvision's transforms" in wrong.stderr


# -- few samples of each class


def test_a_run_on_some_digits_is_fine_tuned_with_a_few_samples_of_others(train_here: Command):
    words = ["data.val_size=100", "trainer=cpu", "model.hidden=[16]", "trainer.max_epochs=1", "logger=none"]
    words += ["data.only_classes=[3,4]", "init_from={path:latest,strict:false}"]
    first = train_here(*words[:-2], "data.only_classes=[0,1,2]", "data.per_class=200", small=False)
    assert first.status == 0, first.stderr
    tuned = train_here(*words, "data.per_class=5", "optimizer.lr=1e-9", small=False)
    assert tuned.status == 0, tuned.stderr
    before, after = (load_model(run / "checkpoints/last.ckpt").state_dict() for run in tuned.directories)
    torch.testing.assert_close(
        after["classifier.net.layers.0.weight"], before["classifier.net.layers.0.weight"], rtol=0, atol=1e-7
    )
    assert after["classifier.net.layers.2.weight"].shape == (2, 16)
    assert "did not initialize net.layers.2.bias, net.layers.2.weight" in tuned.runs[1]["warnings"][0]["text"]

    refused = train_here(*words, "data.per_class=6000", small=False)
    assert refused.status == 1
    assert "error: data.per_class=6000 must be at most 5" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr

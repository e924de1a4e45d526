"""Images in folders, one for each class."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image

from src.data import image_folder
from src.data.image_folder import ImageFolder
from src.errors import ConfigError, DataError, UserError
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from tests.helpers.pictures import folder_of_images

COUNTS = {"blue": 12, "green": 24, "red": 36}


def images(folder: Path, **settings: Any) -> ImageFolder:
    return ImageFolder(**{"dir": str(folder), "size": 8, "num_workers": 0, **settings})


def loaded(folder: Path, **settings: Any) -> ImageFolder:
    data = images(folder, **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def files(part: Any) -> list[str]:
    """The names of a part's images, as class/number."""
    paths = [part.dataset.samples[number][0] for number in part.indices] if hasattr(part, "indices") else []
    paths = paths or [path for path, _ in part.samples]
    return sorted("/".join(Path(path).parts[-2:]) for path in paths)


def test_a_folder_is_split_in_the_proportions_of_the_classes(tmp_path: Path):
    data = loaded(folder_of_images(tmp_path / "it", COUNTS), val_size=12, test_size=0.25, seed=3)
    assert (data.input_shape, data.classes, data.class_names) == ((3, 8, 8), 3, ("blue", "green", "red"))
    parts = [files(part) for part in (data.train_set, data.val_set, data.test_set)]
    assert [len(part) for part in parts] == [42, 12, 18]
    assert len({*parts[0], *parts[1], *parts[2]}) == 72
    assert Counter(name.split("/")[0] for name in parts[1]) == {"blue": 2, "green": 4, "red": 6}
    assert Counter(name.split("/")[0] for name in parts[2]) == {"blue": 3, "green": 6, "red": 9}
    other = loaded(tmp_path / "it", val_size=12, test_size=0.25, seed=4)
    assert files(other.test_set) != parts[2]
    assert len(files(loaded(tmp_path / "it", train_size=10).train_set)) == 10
    settings = {"val_size": 12, "test_size": 0.25, "seed": 3}
    few, fewer = (files(loaded(tmp_path / "it", **settings, per_class=count).train_set) for count in (5, 2))
    assert Counter(name.split("/")[0] for name in few) == {"blue": 5, "green": 5, "red": 5}
    assert {*fewer} < {*few}
    assert not {*few} & {*parts[1]}


def test_folders_for_validation_and_test_are_used_where_there_are_such(tmp_path: Path):
    for name, seed in (("train", 0), ("val", 1), ("test", 2)):
        folder_of_images(tmp_path / name, dict.fromkeys(COUNTS, 4 + seed), seed=seed)
    data = loaded(tmp_path)
    assert [len(part) for part in (data.train_set, data.val_set, data.test_set)] == [12, 15, 18]
    shutil.rmtree(tmp_path / "val")
    data = loaded(tmp_path, val_size=3)
    assert [len(part) for part in (data.train_set, data.val_set, data.test_set)] == [9, 3, 18]
    shutil.rmtree(tmp_path / "test")
    data = loaded(tmp_path, val_size=3, test_size=3)
    assert [len(part) for part in (data.train_set, data.val_set, data.test_set)] == [6, 3, 3]


def test_images_are_cut_to_squares_and_normalised_by_the_training_images(tmp_path: Path):
    data = loaded(folder_of_images(tmp_path / "it", COUNTS, size=(8, 8)), val_size=12, test_size=12)
    raw = torch.stack([image for image, _ in data.train_set])
    assert (raw.shape, raw.dtype) == ((48, 3, 8, 8), torch.uint8)
    for image, label in [data.train_set[0], data.train_set[30]]:
        assert image.float().mean((1, 2)).argmax() == {0: 2, 1: 1, 2: 0}[label]
    seen, _ = data.on_after_batch_transfer((raw, torch.zeros(48)), 0)
    assert torch.allclose(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(seen.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)
    fixed = images(tmp_path / "it", mean=[1.0, 2.0, 3.0], std=[2.0, 4.0, 8.0])
    assert torch.equal(fixed.normalize(raw)[:, 2], (raw[:, 2].float() - 3) / 8)


def test_mean_and_standard_deviation_are_measured_once_for_the_same_files(tmp_path: Path, caplog: Any):
    folder = folder_of_images(tmp_path / "it", COUNTS)
    caplog.set_level("INFO", logger=image_folder.__name__)
    first = loaded(folder).normalize.mean
    assert len(caplog.records) == 1
    second = loaded(folder)
    assert torch.equal(second.normalize.mean, first)
    assert not torch.equal(loaded(folder, seed=1).normalize.mean, first)  # of other images
    assert len(caplog.records) == 1
    loaded(folder, size=9)
    assert len(caplog.records) == 2
    Image.new("RGB", (5, 5), "white").save(folder / "red" / "000.png")
    assert not torch.equal(loaded(folder).normalize.mean, first)
    assert len(caplog.records) == 3


def test_transforms_change_the_training_images_alone(tmp_path: Path):
    transforms = [{"name": "RandomCrop", "size": 8, "padding": 4}, {"name": "ColorJitter", "brightness": 0.5}]
    data = loaded(folder_of_images(tmp_path / "it", COUNTS), transforms=transforms)
    assert any(not torch.equal(data.train_set[0][0], data.train_set[0][0]) for _ in range(5))
    assert torch.equal(data.val_set[0][0], data.val_set[0][0])
    assert data.train_set[0][0].dtype == torch.uint8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"transforms": [{"name": "RandomHorizontalFlp"}]},
            r"data.transforms\[0\].name=RandomHorizontalFlp is none .* did you",
        ),
        ({"transforms": [{"name": "Lambda"}]}, "there are AugMix, AutoAugment, CenterCrop"),
        ({"transforms": [{"size": 8}]}, r"data.transforms\[0\].name=null is none of"),
        (
            {"transforms": [{"name": "RandomCrop"}]},
            r"data.transforms\[0\]: RandomCrop cannot be built \(.*missing .* 'size'",
        ),
        (
            {"transforms": [{"name": "Pad", "padding": 1}]},
            r"make images of shape \(3, 10, 10\) of \(3, 8, 8\): .* data.size=8",
        ),
        ({"mean": [1.0, 2.0, 3.0]}, "data.mean=.* and data.std=None must have three numbers each"),
        ({"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}, "values of images are from 0 to 255; multiply"),
        ({"val_size": 65}, "data.val_size=65 leaves nothing to train on: there are 65 images, so set 64"),
        ({"test_size": 72}, "data.test_size=72 leaves nothing to train on: there are 72 images"),
        ({"train_size": 72}, "data.train_size=72 must be at most"),
        ({"per_class": 20}, r"data.per_class=20 must be at most \d+, .* of class 'blue' that are not held out"),
        ({"per_class": 1, "train_size": 9}, "data.per_class=1 and data.train_size=9 both limit"),
        ({"folds": 3}, "data.fold=null must be from 0 to 2 with data.folds=3"),
        ({"dir": "no/such"}, "data.dir=.*no/such: there is no such folder"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str, tmp_path: Path):
    folder = folder_of_images(tmp_path / "it", COUNTS)
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(folder, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(workers: int, tmp_path: Path):
    folder = folder_of_images(tmp_path / "it", {"red": 4, "blue": 4})
    (folder / "red" / "002.png").write_bytes((folder / "red" / "002.png").read_bytes()[:100])
    with pytest.raises(DataError, match=r"^\S*red/002.png cannot be read as an image \(.*\): replace or remove it.$"):
        images(folder, num_workers=workers).prepare_data()


def test_faults_of_folders_are_named(tmp_path: Path):
    folder_of_images(tmp_path / "train", COUNTS)
    folder_of_images(tmp_path / "test", {"blue": 1, "red": 1})
    with pytest.raises(DataError, match="test has no folder for the class 'green'"):
        images(tmp_path)
    folder_of_images(tmp_path / "test", {"green": 1, "pink": 1})
    with pytest.raises(DataError, match="train has no folder for the class 'pink'"):
        images(tmp_path)
    shutil.rmtree(tmp_path / "test" / "pink")
    (tmp_path / "test" / ".hidden").mkdir()
    (tmp_path / "test" / "green" / "000.png").unlink()
    with pytest.raises(DataError, match=r"test/green has no image \(a file that ends in .jpg, .jpeg, .png"):
        images(tmp_path).prepare_data()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has 0 folders: it must have one for each class"):
        images(tmp_path / "empty")


def test_the_folds_of_a_seed_partition_the_training_images(tmp_path: Path):
    folder, parts = folder_of_images(tmp_path / "it", COUNTS), []
    for fold in range(3):
        data = loaded(folder, folds=3, fold=fold, test_size=12)
        assert Counter(name.split("/")[0] for name in files(data.val_set)) in (
            {"blue": a, "green": b, "red": c} for a in (3, 4) for b in (6, 7) for c in (10,)
        )
        assert not {*files(data.val_set)} & {*files(data.train_set)}
        parts += files(data.val_set)
    assert len({*parts}) == len(parts) == 60
    for name in ("train", "val"):
        folder_of_images(tmp_path / "both" / name, COUNTS)
    with pytest.raises(UserError, match=r"data.folds=3 holds out training images for validation, and .*val has others"):
        images(tmp_path / "both", folds=3, fold=0)


def train(data: ImageFolder, folder: Path, **options: Any) -> dict[str, float]:
    torch.manual_seed(0)
    net = MLP(input_shape=data.input_shape, outputs=3, hidden=[8])
    task = Classifier(net=net, classes=3, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2))
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = pl.Trainer(accelerator="cpu", max_epochs=3, default_root_dir=folder, **quiet, **options)
    trainer.fit(task, datamodule=data)
    [metrics] = trainer.test(task, datamodule=data, verbose=False)
    return {**{key: float(value) for key, value in trainer.callback_metrics.items()}, **metrics}


def test_a_network_is_trained_by_lightnings_trainer_with_workers(tmp_path: Path):
    folder = folder_of_images(tmp_path / "it", COUNTS, suffix="jpg")
    found = train(images(folder, num_workers=1, batch_size=16, transforms=[{"name": "RandomHorizontalFlip"}]), tmp_path)
    assert found["test/acc"] == 1.0


def test_two_devices_share_the_batch_and_the_images(tmp_path: Path):
    folder = folder_of_images(tmp_path / "it", COUNTS)
    data = images(folder, batch_size=16)
    seen = tmp_path / "seen"

    class Seen(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            with (seen.with_suffix(f".{trainer.global_rank}")).open("a") as file:
                file.write(json.dumps([len(batch[1]), batch[0].flatten(1).sum(1).tolist()]) + "\n")

    def two(data: ImageFolder, **options: Any) -> None:
        strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
        train(data, tmp_path, devices=2, strategy=strategy, **options)

    two(data, callbacks=[Seen()])
    ranks = [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(tmp_path.glob("seen.*"))]
    assert [len(rank) for rank in ranks] == [12, 12]  # three epochs of 59 images in batches of 16
    assert [size for size, _ in ranks[0][:4]] == [8, 8, 8, 6]
    epoch = [np.round(value, 3) for rank in ranks for _, values in rank[:4] for value in values]
    assert len({*epoch}) == 59
    with pytest.raises(
        Exception, match=r"ConfigError: data.batch_size=15 is shared by 2 devices: set a multiple of 2, such as 16"
    ):
        two(images(folder, batch_size=15))

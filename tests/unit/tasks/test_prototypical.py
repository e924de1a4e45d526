"""Prototypical networks: distances to class means, accuracy of episodes and its interval, and settings that cannot be."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.module import TensorData
from src.errors import ConfigError
from src.models.mlp import MLP
from src.tasks.metrics import EpisodeAccuracy, EpisodeInterval
from src.tasks.prototypical import Prototypical, logits
from src.training.fit import make_trainer
from tests.helpers.tasks import Numbers, SeveralClasses


class Clusters(TensorData):
    """20 training and 12 test samples of each of five classes, close to a point of its own."""

    input_shape = (6,)
    classes = 5
    class_names = ("a", "b", "c", "d", "e")
    stratified = True

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(100 if train else 60) % 5
        generator = torch.Generator().manual_seed(int(train))
        centers = torch.randn(5, 6, generator=torch.Generator().manual_seed(7))
        return centers[labels] + 0.7 * torch.randn(len(labels), 6, generator=generator), labels


def task(**settings: Any) -> Prototypical:
    shape = {"ways": 2, "shots": 3, "queries": 4, "eval_ways": 2, "eval_shots": 2, "eval_queries": 5}
    return Prototypical(
        net=MLP(input_shape=[6], outputs=8, hidden=[7]),
        classes=5,
        optimizer=partial(torch.optim.SGD, lr=0.0),
        **{"held_out": [1, 4], "embedding": 8, "episodes": 3, "eval_episodes": 9, **shape, **settings},
    )


def fitted(module: Prototypical, **data: Any) -> Any:
    """The trainer after one epoch and a test."""
    [config] = preflight(parse(["trainer=cpu", "trainer.max_epochs=1", "trainer.precision=64-true"]))
    trainer = make_trainer(config, callbacks=[], logger=False)
    source = Clusters(**{"val_size": 0.3, **data})
    trainer.fit(module, datamodule=source)
    trained = dict(trainer.callback_metrics)
    trainer.test(module, datamodule=source, verbose=False)
    return source, {name: float(value) for name, value in {**trained, **trainer.callback_metrics}.items()}


def test_a_query_is_of_the_class_with_the_nearest_mean():
    generator = torch.Generator().manual_seed(0)
    support, queries = torch.randn(3, 5, 4, generator=generator), torch.randn(50, 4, generator=generator)
    found = logits(support, queries)
    torch.testing.assert_close(found, -torch.cdist(queries, support.mean(1)).square())


def test_the_accuracy_of_episodes_is_exact_over_ranks():
    generator = torch.Generator().manual_seed(0)
    episodes = torch.rand(6, 10, generator=generator) < 0.7
    expected = episodes.double().mean(1).numpy()
    for kind, value in ((EpisodeAccuracy, expected.mean()), (EpisodeInterval, 1.96 * expected.std(ddof=1) / 6**0.5)):
        ranks = [kind(8) for _ in range(3)]
        for _ in range(2):  # the second time after a reset
            for rank, metric in enumerate(ranks):
                metric.reset()
                for episode in episodes:
                    metric.update(episode[rank::3])
        whole = kind(8)
        for name in ("correct", "queries"):
            setattr(whole, name, sum(getattr(metric, name) for metric in ranks))
        whole._update_count = 6
        assert float(whole.compute()) == pytest.approx(value, rel=1e-6)
    assert float(whole.accuracies()[1]) == pytest.approx(expected[1])


def test_metrics_are_those_of_the_episodes_of_each_stage():
    module = task()
    data, metrics = fitted(module)
    for stage, shots, held_out in (("train", 3, False), ("val", 2, False), ("test", 2, True)):
        loader = data.loaders[stage]
        loader.epoch, loader.position = 0, 0
        losses, accuracies = [], []
        for chunk in loader:
            with torch.no_grad():
                embedded = module.net(chunk.inputs.double())
            means = torch.stack([embedded[start : start + shots].mean(0) for start in (0, shots)])
            outputs, labels = -(torch.cdist(embedded[2 * shots :], means) ** 2), chunk.labels[2 * shots :]
            losses.append(F.cross_entropy(outputs, labels).item())
            accuracies.append((outputs.argmax(1) == labels).double().mean().item())
            centers = {
                tuple(sample.tolist()): int(label)
                for inputs, classes in (data.train_set, data.test_set, data.val_set)
                for sample, label in zip(inputs, classes, strict=True)
            }
            assert {centers[tuple(sample.tolist())] in (1, 4) for sample in chunk.inputs} == {held_out}
        assert metrics[f"{stage}/loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert metrics[f"{stage}/acc"] == pytest.approx(np.mean(accuracies), rel=1e-6)
        if stage != "train":
            interval = 1.96 * np.std(accuracies, ddof=1) / 9**0.5
            assert metrics[f"{stage}/acc_interval"] == pytest.approx(interval, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": [3, 5]}, r"task.held_out=\[3, 5\] must name classes from 0 to 4, each once"),
        ({"held_out": [3, 3]}, r"task.held_out=\[3, 3\] must name classes from 0 to 4, each once"),
        ({"ways": 4}, "task.ways=4 must be at most 3, the number of classes to train on: set"),
        ({"eval_ways": 3}, "task.eval_ways=3 must be at most 2, the number of classes in task.held_out, for the test"),
    ],
)
def test_classes_that_there_are_not_are_refused(settings: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        task(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 10, "queries": 5}, "task.shots=10 and task.queries=5: an episode needs 15 training samples of each"),
        (
            {"eval_shots": 15},
            "task.eval_shots=15: an episode needs 15 training samples of each class, and class 'a' has",
        ),
        (
            {"held_out": [0, 1, 2], "eval_ways": 3},
            "task.eval_ways=3 must be at most 2, the number of classes not in task.held_out, for validation",
        ),
        (
            {"eval_queries": 7},
            "task.eval_queries=7: an episode needs 7 validation samples of each class, and class 'a' has",
        ),
        (
            {"eval_queries": 13},
            "task.eval_queries=13: an episode needs 13 test samples of each class, and class 'b' has 12",
        ),
    ],
)
def test_classes_with_too_few_samples_are_refused_before_the_first_step(settings: Any, message: str):
    module = task(**settings)
    with pytest.raises(ConfigError, match=message):
        fitted(module, **({"val_size": 0} if "13" in message else {}))
    assert module.global_step == 0


@pytest.mark.parametrize("data", [SeveralClasses(), Numbers(), None])
def test_data_without_one_class_for_each_sample_is_refused(data: object):
    with pytest.raises(ConfigError, match=r"one class for each sample, and \w+ is none: set task=classification"):
        Prototypical.outputs(data, {})  # type: ignore[arg-type]


def test_samples_that_are_not_square_images_are_not_rotated():
    with pytest.raises(ConfigError, match=r"task.rotations=true is for square images, and a sample is of shape \(6,\)"):
        Prototypical.outputs(Clusters(), {"rotations": True})
    assert task(rotations=True, ways=12).trained == (0, 2, 3, 5, 7, 8, 10, 12, 13, 15, 17, 18)

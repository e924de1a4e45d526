"""Prototypical networks: few-shot classification by the distance to the mean embedding of each class."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from src.bounds import Bounds, Count, CountOrZero, Mode
from src.data.episodes import Episode, EpisodeLoader, with_rotations
from src.data.images import is_image
from src.data.module import TensorData
from src.errors import ConfigError
from src.tasks.base import ClipNorm, MakeOptimizer, MakeSchedule, SupervisedTask, with_single_labels
from src.tasks.losses import CrossEntropy, predicted
from src.tasks.metrics import EpisodeAccuracy, EpisodeInterval

_EMBEDDING = 64
Ways = Annotated[int, Bounds(ge=2, le=10_000)]


class Prototypical(SupervisedTask):
    """Trains an embedding in which a sample is classified by the nearest class mean (Snell et al. 2017, https://arxiv.org/abs/1703.05175).

    A batch is an episode, see ``EpisodeLoader``. The prototype of a class is the mean embedding of its support samples; the logits
    of a query are the negative squared Euclidean distances to the prototypes, and the loss is their softmax cross entropy.

    Training episodes are drawn from the training samples of the classes that are not held out; validation episodes have support
    samples from there, and queries from the validation samples of the same classes. Test episodes are those of the held-out
    classes, with support samples from the training set, which the network was not trained on, and queries from the test set.

    Logs ``loss``, and ``acc``, the mean accuracy of the episodes, below ``train/``, ``val/`` and ``test/``; for the latter two also
    ``acc_interval``, half the width of the 95 % confidence interval of the mean. They are exact on any number of ranks.

    Args:
        net: maps samples to embeddings (n, embedding).
        classes: number of classes of the data set.
        optimizer: see ``SupervisedTask``.
        schedule: see ``SupervisedTask``.

    Raises:
        ConfigError: held-out classes do not exist, or too few classes are held out or left to train on.
    """

    from_data: ClassVar[tuple[str, ...]] = ("classes",)
    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", "acc": "max", "acc_interval": "min"}
    monitor: ClassVar[str] = "acc"

    def __init__(
        self,
        *,
        net: nn.Module,
        classes: int,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        held_out: Annotated[Sequence[CountOrZero], "classes of the test episodes, by number from 0; not trained on"],
        embedding: Annotated[Count, "dimension of the embedding, the outputs of the network"] = _EMBEDDING,
        rotations: Annotated[
            bool, "whether images rotated by 90, 180 and 270 degrees are further training classes"
        ] = False,
        ways: Annotated[Ways, "classes of a training episode"] = 6,
        shots: Annotated[Count, "support samples of each class of a training episode"] = 5,
        queries: Annotated[Count, "query samples of each class of a training episode"] = 15,
        episodes: Annotated[Count, "training episodes per epoch, one per optimizer step"] = 500,
        eval_ways: Annotated[Ways, "classes of a validation or test episode"] = 4,
        eval_shots: Annotated[Count, "support samples of each class of a validation or test episode"] = 5,
        eval_queries: Annotated[Count, "query samples of each class of a validation or test episode"] = 15,
        eval_episodes: Annotated[Count, "episodes of a validation or test"] = 600,
        gradient_clip_norm: ClipNorm = None,
    ) -> None:
        super().__init__(
            net=net,
            num_outputs=embedding,
            loss=CrossEntropy(),
            metrics={"acc": EpisodeAccuracy(eval_episodes), "acc_interval": EpisodeInterval(eval_episodes)},
            train_metrics=("acc",),
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_norm=gradient_clip_norm,
        )
        self.held_out = tuple(held_out)
        self.kept = tuple(one for one in range(classes) if one not in held_out)
        turns = range(4 if rotations else 1)
        self.trained = tuple(one + turn * classes for turn in turns for one in self.kept)
        self.classes, self.rotations = classes, rotations
        self.episode = Episode(ways, shots, queries)
        self.eval_episode = Episode(eval_ways, eval_shots, eval_queries)
        self.episodes, self.eval_episodes = episodes, eval_episodes
        if len({*held_out}) < len(held_out) or not all(one < classes for one in held_out):
            raise ConfigError(f"task.held_out={list(held_out)} must name classes from 0 to {classes - 1}, each once.")
        _check_ways("ways", ways, self.trained, "to train on, with task.rotations" if rotations else "to train on")
        _check_ways("eval_ways", eval_ways, self.held_out, "in task.held_out, for the test")

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The dimension of the embedding.

        Raises:
            ConfigError: the data set is not one in memory with one class for each sample, or not one of square images to rotate.
        """
        data = with_single_labels(data, "prototypical")
        shape = tuple(data.input_shape)
        if settings.get("rotations") and not (is_image(shape) and shape[-1] == shape[-2]):
            raise ConfigError(
                f"task.rotations=true is for square images, and a sample is of shape {shape}: leave it out."
            )
        return int(settings.get("embedding", _EMBEDDING))

    def setup(self, stage: str) -> None:
        """Make the loaders of the data module yield episodes.

        Raises:
            ConfigError: a class has too few samples.
        """
        super().setup(stage)
        data: TensorData = self.trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "train_set"):
            data.setup("validate")  # the support samples of a test are training samples
        for one in {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",)}[stage]:
            if one != "val" or data.val_size:
                data.loaders[one] = self._loader(one, data)

    def _loader(self, stage: str, data: TensorData) -> EpisodeLoader:
        settings: dict[str, Any] = {
            "stage": stage,
            "seed": data.seed,
            "rank": self.trainer.global_rank,
            "world": self.trainer.world_size,
        }
        if stage == "train":
            episode = self.episode
            names = f"task.shots={episode.shots} and task.queries={episode.queries}"
            _check_sizes(names, episode.shots + episode.queries, "training", data.train_set[1], self.kept, data)
            samples = with_rotations(*data.train_set, self.classes) if self.rotations else data.train_set
            return EpisodeLoader(samples, classes=self.trained, episode=episode, episodes=self.episodes, **settings)
        episode, classes = self.eval_episode, self.held_out if stage == "test" else self.kept
        _check_ways("eval_ways", episode.ways, classes, "not in task.held_out, for validation")
        queries, name = (data.test_set, "test") if stage == "test" else (data.val_set, "validation")
        _check_sizes(f"task.eval_shots={episode.shots}", episode.shots, "training", data.train_set[1], classes, data)
        _check_sizes(f"task.eval_queries={episode.queries}", episode.queries, name, queries[1], classes, data)
        return EpisodeLoader(
            data.train_set, queries, classes=classes, episode=episode, episodes=self.eval_episodes, **settings
        )

    def outputs_and_targets(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (queries, ways) and the classes (queries,) of the queries of an episode, see ``EpisodeLoader``."""
        episode = self.episode if self.trainer.training else self.eval_episode
        support, queries = self(inputs).tensor_split([episode.ways * episode.shots])
        return logits(support.unflatten(0, (episode.ways, episode.shots)), queries), targets[len(support) :]

    def train_sums(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``acc``: number of correctly classified queries."""
        return {"acc": (predicted(outputs) == targets).sum()}

    def update_metrics(self, metrics: nn.ModuleDict, outputs: Tensor, targets: Tensor) -> None:
        """Add an episode to each metric."""
        for metric in metrics.values():
            metric.update(predicted(outputs) == targets)  # type: ignore[operator]

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update ``test/loss`` and the metrics."""
        self.evaluate(batch, "test", self.test_loss, self.test_metrics)


def logits(support: Tensor, queries: Tensor) -> Tensor:
    """Negative squared Euclidean distances to the mean of each class, (queries, ways).

    Args:
        support: embeddings of the support samples, (ways, shots, embedding).
        queries: embeddings to classify, (queries, embedding).
    """
    return -(queries.unsqueeze(1) - support.mean(1)).square().sum(2)


def _check_ways(name: str, ways: int, classes: Sequence[int], which: str) -> None:
    """Raise ``ConfigError`` if there are fewer classes than in an episode."""
    if ways > len(classes):
        raise ConfigError(
            f"task.{name}={ways} must be at most {len(classes)}, the number of classes {which}: set a smaller number, or hold out "
            "other classes."
        )


def _check_sizes(
    settings: str, needed: int, name: str, labels: Tensor, classes: Sequence[int], data: TensorData
) -> None:
    """Raise ``ConfigError`` if a class has fewer samples than an episode needs."""
    counts = torch.bincount(labels, minlength=data.classes)[list(classes)]
    fewest, position = counts.min(0)
    if needed > fewest:
        raise ConfigError(
            f"{settings}: an episode needs {needed} {name} samples of each class, and class "
            f"{data.class_names[classes[int(position)]]!r} has {fewest}: set a smaller number."
        )

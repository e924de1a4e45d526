"""Classification: metrics and weighted losses of uneven batches are those of the whole set, and what does not fit is refused."""

import math
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification as reference

from src.data.points import Points
from src.errors import ConfigError, DataError, UserError
from src.tasks.base import SupervisedTask
from src.tasks.classification import Classifier
from tests.helpers.evaluation import validate
from tests.helpers.tasks import Made, Numbers, SeveralClasses, ThreeClasses, make_task, train

N = 38
METRICS = ["acc", "f1", "precision", "recall", "auroc"]


def made(classes: int, outputs: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits and labels that agree more often than not."""
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (N,), generator=generator)
    logits = torch.randn(N, classes, generator=generator).double() + 2 * F.one_hot(labels, classes)
    return (logits[:, 1:] - logits[:, :1] if outputs == 1 else logits), labels


def several(classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(N, classes, generator=generator) > 0.6).float()
    return torch.randn(N, classes, generator=generator).double() + targets, targets


def test_multi_class_metrics_are_those_of_torchmetrics_for_the_whole_set():
    logits, labels = made(6)
    found = validate(Classifier, logits, labels, classes=6, metrics=[*METRICS, "top3", "top5"])
    arguments: Any = {"num_classes": 6, "average": "macro"}
    expected = {
        "loss": F.cross_entropy(logits, labels),
        "acc": reference.multiclass_accuracy(logits, labels, 6, average="micro"),
        "f1": reference.multiclass_f1_score(logits, labels, **arguments),
        "precision": reference.multiclass_precision(logits, labels, **arguments),
        "recall": reference.multiclass_recall(logits, labels, **arguments),
        "auroc": reference.multiclass_auroc(logits.softmax(1), labels, **arguments),
        "top3": reference.multiclass_accuracy(logits, labels, 6, average="micro", top_k=3),
        "top5": reference.multiclass_accuracy(logits, labels, 6, average="micro", top_k=5),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6)


@pytest.mark.parametrize(("outputs", "loss"), [(2, "cross_entropy"), (1, "binary_cross_entropy")])
def test_metrics_of_two_classes_are_those_of_class_1(outputs: int, loss: str):
    logits, labels = made(2, outputs)
    found = validate(Classifier, logits, labels, classes=2, loss=loss, metrics=METRICS)
    odds = logits[:, 0] if outputs == 1 else logits[:, 1] - logits[:, 0]
    chances = torch.sigmoid(odds)
    expected = {
        "loss": F.binary_cross_entropy_with_logits(odds, labels.double()),
        "acc": reference.binary_accuracy(chances, labels),
        "f1": reference.binary_f1_score(chances, labels),
        "precision": reference.binary_precision(chances, labels),
        "recall": reference.binary_recall(chances, labels),
        "auroc": reference.binary_auroc(chances, labels),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6)


def test_multi_label_metrics_are_those_of_torchmetrics_for_the_whole_set():
    logits, targets = several()
    settings: Any = {"classes": 4, "multilabel": True, "loss": "binary_cross_entropy"}
    found = validate(Classifier, logits, targets, metrics=[*METRICS, "exact_match"], **settings)
    chances, labels, arguments = torch.sigmoid(logits), targets.long(), {"num_labels": 4}
    expected = {
        "loss": F.binary_cross_entropy_with_logits(logits, targets.double()),
        "acc": reference.multilabel_accuracy(chances, labels, average="micro", **arguments),
        "f1": reference.multilabel_f1_score(chances, labels, **arguments),
        "precision": reference.multilabel_precision(chances, labels, **arguments),
        "recall": reference.multilabel_recall(chances, labels, **arguments),
        "auroc": reference.multilabel_auroc(chances, labels, **arguments),
        "exact_match": reference.multilabel_exact_match(chances, labels, **arguments),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6)


WEIGHTS = [1.0, 3.0, 0.5, 2.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_are_those_of_torchs_cross_entropy(smoothing: float):
    logits, labels = made(4)
    found = validate(Classifier, logits, labels, classes=4, class_weights=WEIGHTS, label_smoothing=smoothing)
    weight = torch.tensor(WEIGHTS).double()
    expected = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    assert found["loss"] == pytest.approx(float(expected), rel=1e-9)
    module = nn.CrossEntropyLoss(torch.tensor(WEIGHTS), label_smoothing=smoothing)
    given = validate(Classifier, logits, labels, classes=4, loss=module)
    assert given["loss"] == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("loss", ["focal", "squared_error"])
def test_other_losses_are_averaged_by_the_same_weights(loss: Any):
    logits, labels = made(4)
    found = validate(Classifier, logits, labels, classes=4, loss=loss, class_weights=WEIGHTS)
    true = logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    squares = (torch.sigmoid(logits) - F.one_hot(labels, 4)).square().sum(1) / 2
    losses = squares if loss == "squared_error" else -((1 - true) ** 2) * true.log()
    weights = torch.tensor(WEIGHTS).double()[labels]
    assert found["loss"] == pytest.approx(float((losses * weights).sum() / weights.sum()), rel=1e-9)


def test_weights_of_one_output_are_those_of_two():
    logits, labels = made(2, outputs=1)
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    weights = [1.0, 3.0]
    one = validate(Classifier, logits, labels, classes=2, loss="binary_cross_entropy", class_weights=weights)
    expected = F.cross_entropy(two, labels, torch.tensor(weights).double())
    assert one["loss"] == pytest.approx(float(expected), rel=1e-9)


def test_multi_label_weights_are_the_pos_weight_of_torch():
    logits, targets = several()
    settings: Any = {"classes": 4, "multilabel": True, "class_weights": WEIGHTS}
    found = validate(Classifier, logits, targets, loss="binary_cross_entropy", **settings)
    weight = torch.tensor(WEIGHTS).double()
    expected = F.binary_cross_entropy_with_logits(logits, targets.double(), pos_weight=weight)
    assert found["loss"] == pytest.approx(float(expected), rel=1e-9)


def set_up(data: Made, settings: dict[str, Any]) -> SupervisedTask:
    """A task after ``setup``, by a training without a step."""
    task = make_task(data, settings)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=0)
    trainer.fit(task, datamodule=data)
    return task


def test_balanced_weights_are_those_of_the_training_labels_and_saved():
    task = set_up(data := ThreeClasses(), {"class_weights": "balanced"})
    labels = data.train_set[1]
    expected = len(labels) / (3 * torch.bincount(labels).double())
    torch.testing.assert_close(task.state_dict()["loss.weight"].double(), expected, rtol=1e-6, atol=0)
    assert float(task.loss.sample_weights(labels).mean()) == pytest.approx(1.0)  # type: ignore[union-attr]


def test_balanced_multi_label_weights_are_samples_without_over_samples_with_the_class():
    task = set_up(data := SeveralClasses(), {"loss": "focal", "class_weights": "balanced"})
    with_class = data.train_set[1].sum(0)
    torch.testing.assert_close(task.loss.weight, (65 - with_class) / with_class)


@pytest.mark.parametrize("name", ["balanced", "focal", "several classes"])
def test_a_network_learns_to_tell_the_classes_apart(name: str):
    assert train(name, fast=True, epochs=60)["metrics"]["train/acc"] > 0.9


def test_auroc_leaves_out_classes_without_a_curve():
    logits, labels = made(3)
    two = labels.clamp(max=1)  # none of class 2
    found = validate(Classifier, logits, two, classes=3, metrics=["auroc"])
    chances = logits.softmax(1)
    expected = [reference.binary_auroc(chances[:, number], (two == number).long()) for number in (0, 1)]
    assert found["auroc"] == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)
    assert math.isnan(validate(Classifier, logits, labels * 0, classes=3, metrics=["auroc"])["auroc"])
    logits, labels = made(2, outputs=1)
    single = validate(Classifier, logits, labels * 0, classes=2, loss="binary_cross_entropy", metrics=["auroc"])
    assert math.isnan(single["auroc"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"class_weights": [1.0, 2.0]},
            r"class_weights has 2 weights, and this data set has 3 classes: give one for each",
        ),
        ({"class_weights": [1.0] * 3, "loss": nn.MultiMarginLoss()}, "pass them to MultiMarginLoss itself"),
        ({"label_smoothing": 0.1, "loss": "focal"}, "label_smoothing=0.1 requires task.loss=cross_entropy, not focal"),
        ({"gamma": 1.0}, "gamma=1 requires task.loss=focal, not cross_entropy"),
        ({"loss": "binary_cross_entropy"}, "requires two classes, and this data set has 3"),
        ({"multilabel": True}, r"cross_entropy is computed for one class of each sample.*set task.loss=binary_cross"),
        ({"metrics": ["top3"]}, "top3 requires one label of more than 3 classes, and this data set is of 3 classes"),
        ({"metrics": ["exact_match"]}, "exact_match is defined for multi-label data only"),
        ({"multilabel": True, "loss": "focal", "metrics": ["top5"]}, "this data set is multi-label: leave it out"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Classifier(net=nn.Identity(), classes=3, **settings)


def test_balanced_weights_need_labels_of_every_class():
    class NoneOfClass2(ThreeClasses):
        def make_targets(self, inputs: Tensor) -> Tensor:
            return super().make_targets(inputs).clamp(max=1)

    with pytest.raises(ConfigError, match=r"class 2 has no training samples.*list a weight for each of the 3 classes"):
        set_up(NoneOfClass2(), {"class_weights": "balanced"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 3]), "has the label 3, and labels are whole numbers from 0 to 2"),
        (torch.tensor([0, -100, 1]), "has the label -100"),
        (torch.tensor([[0], [1], [2]]), r"int64 of shape \(3, 1\): they must be int64, of shape \(3,\)"),
        (torch.tensor([0.0, 1.0, 2.0]), "must be int64"),
        (torch.tensor([0, 1, 2], dtype=torch.int32), "int32 of shape"),
    ],
)
def test_labels_of_any_loader_are_checked(labels: Tensor, message: str):
    with pytest.raises(DataError, match=message):
        validate(Classifier, torch.randn(3, 3).double(), labels, classes=3)


def test_multi_label_targets_are_0_and_1():
    settings: Any = {"classes": 2, "multilabel": True, "loss": "focal"}
    for targets in (torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, 2.0]])):
        with pytest.raises(DataError, match="labels are 0 and 1"):
            validate(Classifier, torch.randn(1, 2).double(), targets, **settings)
    with pytest.raises(DataError, match="must be floating-point"):
        validate(Classifier, torch.randn(1, 2).double(), torch.tensor([[0, 1]]), **settings)


def test_outputs_follow_from_data_and_loss():
    assert Classifier.outputs(Points(), {}) == 2
    assert Classifier.outputs(Points(), {"loss": "binary_cross_entropy"}) == 1
    assert Classifier.outputs(Points(), {"loss": {"_target_": "torch.nn.MultiMarginLoss"}}) == 2
    assert Classifier.outputs(SeveralClasses(), {"loss": "binary_cross_entropy"}) == 4
    with pytest.raises(ConfigError, match="Numbers has none: set task=regression"):
        Classifier.outputs(Numbers(), {})


def test_every_metric_has_a_direction():
    assert set(Classifier.metrics) == {"loss", *METRICS, "top3", "top5", "exact_match"}
    assert {name for name, mode in Classifier.metrics.items() if mode == "min"} == {"loss"}
    assert Classifier.monitor in Classifier.metrics


def test_a_network_must_return_one_output_for_each_class():
    with pytest.raises(UserError, match=r"returned a tensor of shape \(3, 4\) for 3 samples: .* of shape \(3, 3\)"):
        validate(Classifier, torch.randn(3, 4).double(), torch.tensor([0, 1, 2]), classes=3)

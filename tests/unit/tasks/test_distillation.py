"""Distillation: the loss is Hinton's, and the teacher is frozen, in evaluation mode and no part of the student."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.normalize import Normalize
from src.errors import ConfigError
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from src.tasks.distillation import Distiller
from src.tasks.pipeline import Pipeline
from src.training.fit import make_trainer
from tests.helpers.tasks import Numbers, SeveralClasses, ThreeClasses


def test_the_loss_is_that_of_hinton_with_the_teachers_own_normalisation():
    network = partial(MLP, input_shape=[5], outputs=3, hidden=[6])
    teacher = Pipeline(Normalize(-1.0, 0.5), Classifier(net=network(dropout=0.5), classes=3))
    student = Distiller(
        net=network(),
        classes=3,
        optimizer=partial(torch.optim.SGD, lr=0.0),
        teacher="",
        alpha=0.7,
        temperature=3.0,
    )
    student.learn_from(teacher.double())
    data = ThreeClasses(mean=1.0, std=2.0)
    [config] = preflight(parse(["trainer=cpu", "trainer.max_epochs=1", "trainer.precision=64-true"]))
    trainer = make_trainer(config, callbacks=[], logger=False)
    trainer.fit(student, datamodule=data)

    (raw, labels), own = data.train_set, student.net
    with torch.no_grad():
        teachers, students = teacher.classifier.net((raw.double() + 1) / 0.5), own((raw.double() - 1) / 2)
    p, q = (teachers / 3).softmax(1), (students / 3).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    expected = 0.3 * F.cross_entropy(students, labels) + 0.7 * 9 * divergence
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(float(expected), rel=1e-6)
    assert divergence > 1e-3
    assert not any("teacher" in name for name in student.state_dict())
    assert len([*student.parameters()]) == len([*own.parameters()])
    assert not any(module.training for module in teacher.modules())


@pytest.mark.parametrize("data", [Numbers(), SeveralClasses(), None])
def test_data_without_one_class_for_each_sample_is_refused(data: object):
    with pytest.raises(
        ConfigError, match=r"requires a data set in memory with one class for each sample, and \w+ is none"
    ):
        Distiller.outputs(data, {})  # type: ignore[arg-type]

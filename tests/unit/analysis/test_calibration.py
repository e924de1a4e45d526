"""Temperature scaling: what it finds, what it changes, what it never changes."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from src.analysis.calibration import fit_temperature
from src.callbacks.after_test import Outcome
from src.callbacks.results import calibration
from src.errors import UserError
from src.evaluate import main
from src.tasks.losses import columns, predicted, probabilities
from tests.conftest import MakeRun


def test_the_calibration_error_of_many_samples_is_that_of_its_bins():
    """Sums in float32 are wrong in the fifth digit."""
    confidence = torch.linspace(0.5, 1, 1_000_000).sub(1e-4).clamp_min(0.5)
    chances = torch.stack([confidence, 1 - confidence], 1)
    labels = (torch.arange(len(chances)) % 4 == 0).long()
    found = calibration(Outcome(chances, labels, chances, ["a", "b"]))
    assert sum(one["count"] for one in found["bins"]) == len(labels)
    exact, edges = confidence.double(), torch.linspace(0, 1, 16)
    gaps = []
    for low, high in pairwise(edges.tolist()):
        here = (confidence > low) & (confidence <= high)
        if here.any():
            gaps.append(float(here.sum()) * abs(float(exact[here].mean()) - float((labels[here] == 0).double().mean())))
    assert found["ece"] == pytest.approx(sum(gaps) / len(labels), rel=1e-9)


@pytest.mark.parametrize("factor", [0.05, 1.0, 3.0, 200.0])
def test_logits_blown_up_by_a_factor_are_brought_back_by_it(factor: float):
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, 10, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator).squeeze(1)
    assert fit_temperature(factor * honest, labels) == pytest.approx(factor, rel=0.03)


def test_of_two_classes_told_by_one_output_the_same():
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli(torch.sigmoid(honest), generator=generator).long().squeeze(1)
    assert fit_temperature(columns(3 * honest), labels) == pytest.approx(3, rel=0.05)
    assert torch.allclose(columns(honest).softmax(1), probabilities(honest))
    assert torch.equal(columns(honest).argmax(1), predicted(honest))


def test_samples_that_determine_no_temperature_are_refused():
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    with pytest.raises(UserError, match="all 3 held-out samples are classified correctly"):
        fit_temperature(logits, torch.tensor([0, 1, 1]))
    with pytest.raises(UserError, match="no more than the others"):
        fit_temperature(logits, torch.tensor([1, 0, 1]))
    assert 0 < fit_temperature(logits, torch.tensor([0, 1, 0])) < 10


def test_a_split_cannot_be_chosen(make_run: MakeRun, capfd: pytest.CaptureFixture[str]):
    assert main([str(make_run().directory), "--calibrate", "split=val"]) == 2
    assert "split=val" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["latest", "--calibrate", "--robustness"])


def test_a_run_at_work_and_one_without_weights_are_refused(make_run: MakeRun, capfd: pytest.CaptureFixture[str]):
    for values, said in (({"status": "running"}, "still running"), ({}, "best.ckpt is missing")):
        directory: Path = make_run(**values).directory
        assert main([str(directory), "--calibrate"]) == 1
        assert said in capfd.readouterr().err

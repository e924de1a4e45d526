"""Membership inference: the figures of an attack are those of their definitions."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from src.analysis.membership import _balanced, _confidence, attack


def test_the_auc_is_the_share_of_pairs_in_order_with_ties_counted_half():
    generator = np.random.default_rng(0)
    members, others = generator.integers(0, 12, 70) + 1.0, generator.integers(0, 12, 50) * 1.0
    pairs = np.sign(members[:, None] - others)
    found = attack(members, others)
    assert found["auc"] == pytest.approx((pairs.mean() + 1) / 2)
    # Variance of DeLong: of the means over each row and column of the pairs.
    placements = (pairs + 1) / 2
    error = (placements.mean(1).var(ddof=1) / 70 + placements.mean(0).var(ddof=1) / 50) ** 0.5
    low, high = found["auc_interval"]
    assert (high - low) / 2 == pytest.approx(1.96 * error)


def test_the_interval_covers_the_true_auc_of_normal_scores():
    generator, truth = np.random.default_rng(1), norm.cdf(0.3 / 2**0.5)
    intervals = [attack(generator.normal(0.3, 1, 200), generator.normal(0, 1, 300))["auc_interval"] for _ in range(400)]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.04)


def test_the_true_positive_rate_is_taken_where_at_most_that_share_of_the_others_is_wrong():
    others = np.arange(1000.0)
    found = attack(np.array([998.5, 990.0, 989.0, 5.0]), others)
    assert found["tpr_at_fpr_0.001"] == 0.25  # one of the others, 999, may be above the threshold
    assert found["tpr_at_fpr_0.01"] == 0.5  # ten: 990 to 999
    assert attack(np.ones(9), np.ones(9)) == {
        "auc": 0.5,
        "auc_interval": [0.5, 0.5],
        "tpr_at_fpr_0.001": 0.0,
        "tpr_at_fpr_0.01": 0.0,
    }
    assert attack(np.ones(9), np.zeros(9))["tpr_at_fpr_0.001"] == 1.0


def test_members_and_others_have_equally_many_of_each_class():
    train, test = torch.tensor([0] * 30 + [1] * 5 + [2] * 9), torch.tensor([0] * 10 + [1] * 8 + [3] * 4)
    members, others = _balanced(train, test, 0)
    assert torch.bincount(train[members]).tolist() == torch.bincount(test[others]).tolist() == [10, 5]
    assert len({*members.tolist()}) == 15


def test_confidence_distinguishes_probabilities_that_round_to_one():
    logits = torch.tensor([[40.0, 0.0, 0.0], [60.0, 0.0, 0.0], [0.0, 0.2, 0.0]], dtype=torch.float64)
    assert _confidence(logits).tolist() == pytest.approx([40 - np.log(2), 60 - np.log(2), 0.2 - np.log(2)])

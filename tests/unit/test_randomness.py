"""Seeds and permutations."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from src.randomness import AUGMENTATION, MODEL, epoch_order, split_order, step_seeds
from tests.helpers.data import seeds, sizes


@given(sizes, seeds, st.integers(0, 50))
def test_an_order_is_a_permutation_and_depends_on_seed_and_epoch_alone(size: int, seed: int, epoch: int):
    order = epoch_order(seed, epoch, size)
    torch.manual_seed(epoch)  # whatever else is drawn meanwhile
    assert torch.equal(order, epoch_order(seed, epoch, size))
    assert sorted(order.tolist()) == list(range(size))


def test_orders_of_other_epochs_seeds_and_the_split_differ():
    orders = [epoch_order(0, 0, 1000), epoch_order(0, 1, 1000), epoch_order(1, 0, 1000), split_order(0, 1000)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_step_seeds_differ_by_purpose_step_epoch_rank_and_seed():
    choices = itertools.product((MODEL, AUGMENTATION), (0, 1), (0, 1), (0, 1))
    drawn = [number for purpose, seed, epoch, rank in choices for number in step_seeds(purpose, seed, epoch, rank, 50)]
    assert len(set(drawn)) == 800

"""What the tests of test_pruning.py share."""

from tests.conftest import SMALL

# Four epochs of eight steps; all is pruned after three of them.
PRUNED = [
    *SMALL,
    "trainer.max_epochs=4",
    "model.hidden=[16,12]",
    "data.steps_per_execution=3",
    "callbacks=pruning",
    "callbacks.pruning.amount=0.75",
    "callbacks.pruning.end_epoch=3",
]

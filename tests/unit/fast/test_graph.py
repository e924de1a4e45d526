"""What a CUDA graph does with a chunk, where the capture is one that the processor can do, too.

Whether CUDA captures these steps can only be shown on a GPU.
"""

import torch
from torch.optim import lr_scheduler

from src.fast.steps import _changes_lr_only


def test_only_schedules_that_change_nothing_but_the_learning_rate_are_captured():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1)

    class Mine(lr_scheduler.StepLR):
        """A subclass may change the momentum, too."""

    step, mine = lr_scheduler.StepLR(optimizer, 3), Mine(optimizer, 3)
    one_cycle = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    warmup = lr_scheduler.LinearLR(optimizer)
    assert all(map(_changes_lr_only, (None, step, lr_scheduler.SequentialLR(optimizer, [warmup, step], [2]))))
    assert not any(map(_changes_lr_only, (mine, one_cycle)))
    assert not _changes_lr_only(lr_scheduler.SequentialLR(optimizer, [warmup, one_cycle], [2]))

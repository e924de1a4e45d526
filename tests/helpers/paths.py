"""What the tests of test_paths.py share."""

from typing import Any

import lightning.pytorch as pl


class StepHook(pl.Callback):
    """Has a hook of single steps."""

    def on_before_zero_grad(self, *_: Any) -> None:
        pass

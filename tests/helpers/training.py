"""What the tests of test_training.py share."""

from pathlib import Path

import torch

# Two ways to compute the same steps round differently, and how far they drift apart must not depend on the processor. In
# float64 the losses of 200 steps differ by at most 1e-13 whichever instructions MKL and ATen use (MKL_CBWR and
# ATEN_CPU_CAPABILITY, on an Intel with AVX-512). In float32 those of the first 20 differ by at most 1e-6 with an activation
# that is smooth; with ReLU a rounding may decide whether a unit is active, at any step, and then they differ by up to 1e-2.
SMOOTH = "model.activation=gelu"


def weights(directory: Path, name: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = torch.load(directory / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("net.")}

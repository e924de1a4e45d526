"""Data sets of the tests' own, in IDX files, as the real ones come."""

import struct
from pathlib import Path

import numpy as np

KINDS = {np.dtype(np.uint8): 0x08, np.dtype(">i4"): 0x0C}


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">2sBB", b"\x00\x00", KINDS[array.dtype], array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    path.write_bytes(header + array.tobytes())


def small_images(root: Path, name: str, train: int = 6000, test: int = 200) -> Path:
    """A data set in the shape of ``name``: each class a bright bar at a place of its own."""
    generator = np.random.default_rng(0)
    subsets = {"train": train, "test" if name == "QMNIST" else "t10k": test}
    for subset, size in subsets.items():
        labels = generator.integers(0, 10, size, dtype=np.uint8)
        images = generator.integers(0, 60, (size, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 3] = 250
        raw = root / name / "raw"
        if name == "QMNIST":
            table = np.zeros((size, 8), dtype=">i4")
            table[:, 0] = labels
            write_idx(raw / f"qmnist-{subset}-images-idx3-ubyte", images)
            write_idx(raw / f"qmnist-{subset}-labels-idx2-int", table)
        else:
            write_idx(raw / f"{subset}-images-idx3-ubyte", images)
            write_idx(raw / f"{subset}-labels-idx1-ubyte", labels)
    return root

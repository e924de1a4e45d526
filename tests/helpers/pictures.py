"""Folders of images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {"blue": (20, 30, 200), "green": (30, 200, 20), "red": (200, 20, 30)}


def folder_of_images(
    folder: Path, counts: Mapping[str, int], size: tuple[int, int] = (20, 16), seed: int = 0, suffix: str = "png"
) -> Path:
    """Images of one colour and some noise, so many of each class."""
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = generator.integers(-20, 20, (size[1], size[0], 3))
            pixels = np.clip(np.array(CLASSES.get(name, (100, 100, 100))) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.{suffix}")
    return folder

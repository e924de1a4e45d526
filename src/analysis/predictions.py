"""Predictions of a run's model for image files."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from src.analysis.image_files import is_picture, picture_files, read_image
from src.data.images import is_image
from src.data.normalize import Normalize
from src.errors import DataError, UserError
from src.records.record import Record
from src.tasks.classification import Classifier
from src.tasks.losses import probabilities
from src.tasks.pipeline import Pipeline
from src.training.weights import data_of, trained_task

_STDIN = "-"
# Images per batch, and thereby in memory at a time.
_BATCH = 500
# Called with a message for each image that cannot be read.
Skip = Callable[[str], None]


class Source(NamedTuple):
    """Source of an image: a file, or its content."""

    name: str
    content: Path | bytes


class Prediction(NamedTuple):
    """Prediction for an image.

    Attributes:
        file: name of the image.
        probabilities: probability of each class, by class name.
    """

    file: str
    probabilities: dict[str, float]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Class names and probabilities, the most probable class first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    def as_plain(self) -> dict[str, str | float]:
        """The two most probable classes, for JSON and CSV output."""
        first, second = self.ranked[:2]
        keys = ("file", "class", "confidence", "runner_up", "runner_up_confidence")
        return dict(zip(keys, (self.file, *first, *second), strict=True))


def sources(places: Iterable[str], skip: Skip) -> Iterator[Source]:
    """The images of files, of folders (sorted by name), and of standard input (``-``: an image, or names of files)."""
    for place in places:
        if place == _STDIN:
            data = sys.stdin.buffer.read()
            if is_picture(data):
                yield Source(_STDIN, data)
                continue
            lines = _lines(data)
            if not lines:
                skip("standard input holds neither a picture nor names of files, one a line.")
            yield from (Source(line, Path(line)) for line in lines)
        elif os.path.isdir(place):  # Path.is_dir would raise for a name that is too long
            try:
                files = picture_files(Path(place))
            except OSError as error:
                skip(f"{place} cannot be read ({error.strerror}).")
                continue
            if files:
                print(f"{place}: {len(files)} picture{'s' * (len(files) > 1)}", file=sys.stderr)
            else:
                skip(f"{place} is a folder without a picture.")
            yield from (Source(str(path), path) for path in files)
        else:
            yield Source(place, Path(place))


def _lines(data: bytes) -> list[str]:
    """The non-empty lines of UTF-8 text; none if the bytes are not text."""
    if b"\0" in data:
        return []
    try:
        return [line for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        return []


def predict(record: Record, images: Iterable[Source], skip: Skip, checkpoint: str = "best") -> Iterator[Prediction]:
    """Predict images in batches, in order; at most one batch is in memory at a time.

    Args:
        record: the run.
        images: see ``sources``.
        skip: called with a message for each image that cannot be read.
        checkpoint: best or last.

    Raises:
        UserError: the run has no such checkpoint, or its model does not take images.
    """
    task, config = trained_task(record, checkpoint)
    data: Any = data_of(config)
    if not (isinstance(task, Classifier) and isinstance(getattr(data, "normalize", None), Normalize)):
        raise UserError(
            f"{record.values['id']} trained {config['task']['_target_']} on {(config['data'] or {}).get('_target_')}: this command is for "
            "task=classification on a data set of this project, such as data=mnist or data=image_folder."
        )
    if not is_image(data.input_shape):
        takes = " x ".join(map(str, data.input_shape))
        raise UserError(
            f"{record.values['id']} takes samples of shape {takes}, which are not images: name a run of a data set of images."
        )
    model = Pipeline(data.normalize, task).eval()
    return _predicted(model, data.class_names, _readable(images, data.input_shape, skip))


def _predicted(
    model: Pipeline, names: Sequence[str], readable: Iterator[tuple[str, NDArray[np.uint8]]]
) -> Iterator[Prediction]:
    while batch := list(islice(readable, _BATCH)):
        inputs = torch.from_numpy(np.stack([image for _, image in batch]))
        with torch.inference_mode():
            rows = probabilities(model(inputs)).tolist()
        for (name, _), row in zip(batch, rows, strict=True):
            yield Prediction(name, dict(zip(names, row, strict=True)))


def _readable(images: Iterable[Source], shape: Sequence[int], skip: Skip) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for source in images:
        name = os.fsencode(source.name).decode(errors="replace")  # a file name may contain bytes that are not UTF-8
        try:
            yield name, read_image(source.content, name, shape)
        except DataError as error:
            skip(str(error))


def write_json(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Write a JSON list, each prediction as soon as it is available."""
    file.write("[")
    for number, one in enumerate(predictions):
        row = {**one.as_plain(), "probabilities": one.probabilities}
        file.write(f"{',' if number else ''}\n  {json.dumps(row)}")
    file.write("\n]\n")


def write_csv(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Write CSV, each prediction as soon as it is available."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["file", "class", "confidence", "runner_up", "runner_up_confidence"])
    writer.writerows(one.as_plain().values() for one in predictions)


def as_table(predictions: Iterable[Prediction]) -> Table:
    """Format predictions as a table for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    for heading in ("class", "confidence", "runner-up"):
        table.add_column(heading, justify="right" if heading == "confidence" else "left", no_wrap=True)
    for one in predictions:
        (first, confidence), (second, less) = one.ranked[:2]
        table.add_row(Text(one.file), Text(first), f"{confidence:.1%}", Text(f"{second} {less:.1%}"))
    return table

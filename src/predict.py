"""Let a run's model say what is in pictures.

    python -m src.predict latest three.png photo.jpg      the latest finished run, its best weights
    python -m src.predict RUN scans/                      every picture in a folder
    python -m src.predict RUN scans/ checkpoint=last      the weights at the end instead
    python -m src.predict RUN - < three.png               a picture from standard input
    find scans -name '*.png' | python -m src.predict RUN -    names of files from standard input, one a line

RUN is an id, a unique beginning of one, a name, a directory, latest or best. The pictures may be of any size and colour,
dark on light or light on dark; how each is made into one of MNIST's kind, docs/predict.md says. With --json or --csv it
prints for programs, --json with the probabilities of all classes. What cannot be read is named and passed over; the exit
status is then 1.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from src.command import exit_with, settings_in, status_of
from src.errors import ConfigError, DataError, UserError
from src.records.find import find
from src.training.weights import trained

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from src.tasks.classification import Classifier

_CHOICES = {"checkpoint": ("best", "last")}
_STDIN = "-"
# Pictures that are in memory at once, each as 784 bytes.
_BATCH = 500


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        file: the picture's name.
        probabilities: of all classes, by their names.
    """

    file: str
    probabilities: dict[str, float]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Names and probabilities, the likeliest class first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    def as_plain(self) -> dict[str, str | float]:
        """The likeliest class and the next, for programs."""
        (said, sure), (other, less) = self.ranked[:2]
        return {"file": self.file, "class": said, "confidence": sure, "runner_up": other, "runner_up_confidence": less}


@dataclass(frozen=True)
class Source:
    """Where a picture comes from: a file, or what standard input held."""

    name: str
    content: Path | bytes


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 1 failed or a picture left out, 2 a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="python -m src.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("words", nargs="*", metavar="PICTURE", help="files, folders or -; checkpoint=best|last")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="for programs")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="for spreadsheets")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    places, settings = _sorted_out(args.words)
    if not places:
        raise ConfigError(f"there is no picture to look at: name files or folders after {args.run}, or - for stdin.")
    record = find(args.run)
    bad: list[str] = []

    def leave_out(sentence: str) -> None:
        bad.append(sentence)
        errors.print(f"error: {sentence}", markup=False, highlight=False, soft_wrap=True)

    errors = Console(stderr=True)
    sources = list(_sources(places, leave_out))
    model, config = trained(record, **settings)
    names = _class_names(record.values["id"], model, config["data"]["_target_"])
    # While answers go to the same terminal, a bar would stand among them.
    hidden = not errors.is_terminal or (args.form is not None and sys.stdout.isatty())
    with Progress(
        console=errors, transient=True, disable=hidden, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        followed = progress.track(sources, description="pictures") if sources else []
        found = predictions(model, names, followed, leave_out)
        if args.form is not None:
            {"json": _print_json, "csv": _print_csv}[args.form](found)
            return 1 if bad else 0
        answers = list(found)
    if answers:
        _print_table(answers)
    return 1 if bad else 0


def _sorted_out(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What names pictures, and the settings: key=value, unless it is the path of a file or of another folder."""
    settings = [word for word in words if word.partition("=")[0].isidentifier() and "=" in word]
    settings = [word for word in settings if word.partition("=")[0] in _CHOICES or not os.path.exists(word)]
    return [word for word in words if word not in settings], settings_in(settings, _CHOICES)


def _sources(places: Iterable[str], leave_out: Callable[[str], None]) -> Iterator[Source]:
    """The pictures that were named, in that order, those in a folder by name."""
    from src.analysis.image_files import is_picture, picture_files

    for place in places:
        if place == _STDIN:
            data = sys.stdin.buffer.read()
            if is_picture(data):
                yield Source(_STDIN, data)
                continue
            lines = _lines(data)
            if not lines:
                leave_out("standard input holds neither a picture nor names of files, one a line.")
            yield from (Source(line, Path(line)) for line in lines)
        elif os.path.isdir(place):  # and not Path's, which raises for a name that is too long
            try:
                files = picture_files(Path(place))
            except OSError as error:
                leave_out(f"{place} cannot be read ({error.strerror}).")
                continue
            if files:
                print(f"{place}: {len(files)} picture{'s' * (len(files) > 1)}", file=sys.stderr)
            else:
                leave_out(f"{place} is a folder without a picture.")
            yield from (Source(str(path), path) for path in files)
        else:
            yield Source(place, Path(place))


def _lines(data: bytes) -> list[str]:
    """Lines that hold anything; none of bytes that are no text."""
    if b"\0" in data:
        return []
    try:
        return [line for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        return []


def _class_names(run: str, model: "Classifier", data: str) -> tuple[str, ...]:
    """What the classes of a run's data set are called.

    Raises:
        UserError: its model takes no pictures of 28 x 28.
    """
    from src.config.targets import resolve

    shape = tuple(model.hparams["net"]["input_shape"])
    if shape != (28, 28):
        takes = " x ".join(map(str, shape))
        raise UserError(
            f"{run} takes samples of shape {takes}, not pictures of 28 x 28: name a run of data like MNIST."
        )
    return resolve(data, "data").class_names  # type: ignore[attr-defined]


def predictions(
    model: "Classifier", names: Sequence[str], sources: Iterable[Source], leave_out: Callable[[str], None]
) -> Iterator[Prediction]:
    """Predict pictures in batches, in their order; no more than a batch of them is in memory.

    Args:
        model: takes raw pictures, uint8 (n, 28, 28).
        names: of its classes.
        sources: the pictures.
        leave_out: is told in a sentence of each that cannot be read.
    """
    import numpy as np
    import torch

    from src.tasks.losses import probabilities

    readable = _readable(sources, leave_out)
    while batch := list(islice(readable, _BATCH)):
        pictures = torch.from_numpy(np.stack([picture for _, picture in batch]))
        with torch.inference_mode():
            shares = probabilities(model(pictures)).tolist()
        for (name, _), row in zip(batch, shares, strict=True):
            yield Prediction(name, dict(zip(names, row, strict=True)))


def _readable(sources: Iterable[Source], leave_out: Callable[[str], None]) -> "Iterator[tuple[str, NDArray[np.uint8]]]":
    from src.analysis.image_files import read_picture

    for source in sources:
        name = os.fsencode(source.name).decode(errors="replace")  # a name may hold bytes that no terminal shows
        try:
            yield name, read_picture(source.content, name)
        except DataError as error:
            leave_out(str(error))


def _print_json(found: Iterable[Prediction]) -> None:
    """One list, each picture as soon as it is known."""
    print("[", end="")
    for number, prediction in enumerate(found):
        row = {**prediction.as_plain(), "probabilities": prediction.probabilities}
        print(f"{',' if number else ''}\n  {json.dumps(row)}", end="")
    print("\n]")


def _print_csv(found: Iterable[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "class", "confidence", "runner_up", "runner_up_confidence"])
    writer.writerows(prediction.as_plain().values() for prediction in found)


def _print_table(answers: Iterable[Prediction]) -> None:
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    for heading in ("class", "confidence", "runner-up"):
        table.add_column(heading, justify="right" if heading == "confidence" else "left", no_wrap=True)
    for answer in answers:
        (said, sure), (other, less) = answer.ranked[:2]
        table.add_row(Text(answer.file), Text(said), f"{sure:.1%}", Text(f"{other} {less:.1%}"))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    exit_with(main())

"""``python -m src.predict``: real picture files, made of MNIST's test set, and what a real run says of them."""

import csv
import io
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.results import RESULTS
from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST, FashionMNIST
from src.paths import ROOT
from src.predict import main
from src.records.record import Record
from src.training.fit import fit
from src.training.weights import load_model
from tests.helpers.idx import small_images

COUNT = 200


Says = Callable[..., tuple[int, str, str]]


def make(directory: Path, *words: str) -> Path:
    """Train a run in ``directory``."""
    directory.mkdir(parents=True)
    [config] = preflight(parse([*words, "logger=none"]))
    record = Record.start(directory, sweep=None, config=config, overrides=[], command="", git=None, environment={})
    fit(config, str(directory))
    record.update(status="done")
    return directory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows digits well enough."""
    words = [
        "data.train_size=20000",
        "data.val_size=500",
        "trainer.max_epochs=2",
        "model.hidden=[64]",
        "optimizer=adam",
    ]
    return make(tmp_path_factory.mktemp("runs") / "digits", *words)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """The first images of the test set, uint8 (n, 28, 28)."""
    return MNIST(val_size=0).load(train=False)[0][:COUNT]


@pytest.fixture(scope="module")
def expected(run: Path, digits: Tensor) -> list[str]:
    """What the run's model says of the test set itself."""
    model = load_model(run / "checkpoints" / "best.ckpt")
    with torch.inference_mode():
        return [str(number) for number in model(digits).argmax(1).tolist()]


@pytest.fixture
def says(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Says:
    """Status, output and errors of ``main``, given what stands on standard input."""

    def call(*words: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
        capfd.readouterr()
        with monkeypatch.context() as changed:
            changed.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return call


def picture(digit: Tensor) -> Image.Image:
    return Image.fromarray(digit.numpy())


def inverted(image: Image.Image) -> Image.Image:
    return image.point(lambda value: 255 - value)


def large(image: Image.Image) -> Image.Image:
    return image.resize((280, 280), Image.Resampling.BICUBIC)


def colored(image: Image.Image) -> Image.Image:
    """Yellow on blue."""
    ink, paper = Image.new("RGB", image.size, (250, 240, 90)), Image.new("RGB", image.size, (20, 30, 90))
    return Image.composite(ink, paper, image)


def stroke_on_nothing(image: Image.Image, shade: int) -> Image.Image:
    clear = Image.new("RGBA", image.size, (shade, shade, shade, 0))
    clear.putalpha(image)
    return clear


def in_a_corner(image: Image.Image) -> Image.Image:
    paper = Image.new("L", (400, 300), 230)
    paper.paste(inverted(image).point(lambda value: round(value * 0.9)), (110, 10))
    return paper


def turned_for_exif(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90)


def save(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    if "exif" in path.name:
        exif[0x0112] = 6  # is to be turned by 90 degrees clockwise
    image.save(path, exif=exif)


# A form, what it makes of an image of MNIST's, and how many of 200 are at least taken for what the image is taken for.
FORMS: list[tuple[str, Callable[[Image.Image], Image.Image], int]] = [
    ("same.png", lambda image: image, 200),
    ("inverted.png", inverted, 200),
    ("rgb.png", lambda image: image.convert("RGB"), 200),
    ("rgba.png", lambda image: image.convert("RGBA"), 200),
    ("palette.gif", lambda image: image.convert("P"), 200),
    ("sixteen-bit.png", lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257), 200),
    ("exif.png", turned_for_exif, 200),
    ("white-on-nothing.png", lambda image: stroke_on_nothing(image, 255), 200),
    ("black-on-nothing.webp", lambda image: stroke_on_nothing(image, 0), 196),
    ("large.png", large, 194),
    ("large-inverted.jpg", lambda image: inverted(large(image)), 194),
    ("large-colored.png", lambda image: colored(large(image)), 194),
    ("large-float.tiff", lambda image: Image.fromarray(np.asarray(large(image)).astype(np.float32) / 255), 194),
    ("large-exif.jpg", lambda image: turned_for_exif(inverted(large(image))), 194),
    ("in-a-corner.png", lambda image: in_a_corner(large(image)), 194),
]


@pytest.mark.parametrize(("name", "form", "least"), FORMS, ids=[name for name, _, _ in FORMS])
def test_a_test_image_in_any_form_is_taken_for_what_it_is_taken_for_in_the_test_set(
    run: Path, digits: Tensor, expected: list[str], says: Says, tmp_path: Path, name: str, form: Any, least: int
):
    for number, digit in enumerate(digits):
        save(form(picture(digit)), tmp_path / f"{number:03d}-{name}")
    status, out, err = says(run, tmp_path, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert [Path(row["file"]).name for row in found] == [f"{number:03d}-{name}" for number in range(COUNT)]
    assert sum(row["class"] == one for row, one in zip(found, expected, strict=True)) >= least
    assert f"{tmp_path}: {COUNT} pictures" in err


def test_a_table_shows_class_confidence_and_runner_up_in_the_order_of_the_words(
    run: Path, digits: Tensor, expected: list[str], says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    for number in (2, 0, 1):
        picture(digits[number]).save(tmp_path / f"{number}.png")
    status, out, err = says(run, *(tmp_path / f"{number}.png" for number in (2, 0, 1)))
    assert (status, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading.split() == ["file", "class", "confidence", "runner-up"]
    for number, line in zip((2, 0, 1), lines, strict=True):
        assert re.fullmatch(rf"{tmp_path}/{number}\.png +{expected[number]} +\d+\.\d% +\d \d+\.\d% *", line)


def test_json_holds_all_probabilities_and_csv_the_two_likeliest(run: Path, digits: Tensor, says: Says, tmp_path: Path):
    picture(digits[0]).save(tmp_path / "0.png")
    [row] = json.loads(says(run, tmp_path / "0.png", "--json")[1])
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
    assert [*row["probabilities"]] == [str(number) for number in range(10)]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert (row["class"], row["confidence"]) == ranked[0]
    assert (row["runner_up"], row["runner_up_confidence"]) == ranked[1]
    [line] = csv.DictReader(io.StringIO(says(run, tmp_path / "0.png", "--csv")[1]))
    assert line == {name: str(value) for name, value in row.items() if name != "probabilities"}


def test_last_weights_are_those_of_the_last_checkpoint(run: Path, digits: Tensor, says: Says, tmp_path: Path):
    picture(digits[0]).save(tmp_path / "0.png")
    model = load_model(run / "checkpoints" / "last.ckpt")
    wanted = torch.softmax(model(digits[:1]), 1)[0].tolist()
    [row] = json.loads(says(run, "checkpoint=last", tmp_path / "0.png", "--json")[1])
    assert [*row["probabilities"].values()] == pytest.approx(wanted, abs=1e-6)


def test_standard_input_is_a_picture_or_names_of_files(
    run: Path, digits: Tensor, expected: list[str], says: Says, tmp_path: Path
):
    for number in (0, 1):
        picture(digits[number]).save(tmp_path / f"{number} of two.png")
    one = (tmp_path / "0 of two.png").read_bytes()
    [row] = json.loads(says(run, "-", "--json", stdin=one)[1])
    assert (row["file"], row["class"]) == ("-", expected[0])
    names = f"{tmp_path}/1 of two.png\n\n{tmp_path}/0 of two.png\n".encode()
    rows = json.loads(says(run, "-", "--json", stdin=names)[1])
    assert [row["class"] for row in rows] == [expected[1], expected[0]]
    for nothing in (b"", b"\n", b"\0\1\2", b"\xff\xfe"):
        status, out, err = says(run, "-", stdin=nothing)
        assert (status, out) == (1, "")
        assert "neither a picture nor names of files" in err
    status, _, err = says(run, "-", stdin=b"x" * 5000)
    assert status == 1
    assert "cannot be read (File name too long)" in err
    status, _, err = says(run, "-", stdin=one[:-30])
    assert status == 1
    assert "- is damaged" in err


def test_what_cannot_be_read_is_named_in_a_sentence_and_the_others_are_predicted(
    run: Path, digits: Tensor, expected: list[str], says: Says, tmp_path: Path
):
    picture(digits[0]).save(tmp_path / "0.png")
    large(picture(digits[1])).save(tmp_path / "1.jpg")
    whole, jpg = (tmp_path / "0.png").read_bytes(), (tmp_path / "1.jpg").read_bytes()
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    Image.new("L", (28, 28), 255).save(tmp_path / "blank.png")
    Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32)).save(tmp_path / "nan.tiff")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("three")
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "truncated.jpg").write_bytes(jpg[: len(jpg) // 2])
    (tmp_path / "damaged.png").write_bytes(whole[:60] + bytes(40) + whole[100:])
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\nshowpage\n")
    (tmp_path / "folder").mkdir()
    told = {
        "missing.png": "is missing",
        "bomb.png": "has more than 89,478,485 pixels",
        "large.png": "has more than 89,478,485 pixels",
        "blank.png": "is blank",
        "nan.tiff": "is damaged (not all of its values are finite numbers)",
        "empty.png": "is empty",
        "text.png": "is not a picture",
        "truncated.png": "is damaged",
        "truncated.jpg": "is damaged",
        "damaged.png": "is damaged",
        "script.eps": "is not a picture, or not of a kind that is read here",
        "folder": "is a folder without a picture",
        "0.png/x.png": "is missing",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, out, err = says(
            run, tmp_path / "0.png", *(tmp_path / name for name in told), tmp_path / "1.jpg", "--json"
        )
    assert status == 1
    assert [row["class"] for row in json.loads(out)] == expected[:2]
    lines = err.splitlines()
    assert len(lines) == len(told)
    for name, sentence in told.items():
        assert [line for line in lines if line.startswith(f"error: {tmp_path / name} {sentence}")], (name, err)


def test_names_of_any_bytes_are_shown(run: Path, digits: Tensor, says: Says, tmp_path: Path):
    file = io.BytesIO()
    picture(digits[0]).save(file, "PNG")
    for name in (b"[red]\xff=1.png", "süß.png".encode(), b"missing\xff.png"):
        if name[:1] != b"m":
            Path((bytes(tmp_path) + b"/" + name).decode(errors="surrogateescape")).write_bytes(file.getvalue())
    status, out, err = says(run, tmp_path, (bytes(tmp_path) + b"/missing\xff.png").decode(errors="surrogateescape"))
    assert status == 1
    assert "[red]\ufffd=1.png" in out.replace("\n", "")
    assert "süß.png" in out.replace("\n", "")
    assert "missing\ufffd.png is missing" in err


def test_a_folder_gives_its_pictures_by_name_but_not_the_hidden_ones(
    run: Path, digits: Tensor, says: Says, tmp_path: Path
):
    for name in ("b.PNG", "a.jpeg", ".hidden.png", "c.webp"):
        picture(digits[0]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "below").mkdir()
    status, out, err = says(run, tmp_path, "--csv")
    assert status == 0
    assert [Path(row["file"]).name for row in csv.DictReader(io.StringIO(out))] == ["a.jpeg", "b.PNG", "c.webp"]
    assert "3 pictures" in err


def test_more_pictures_than_a_batch_holds(run: Path, digits: Tensor, expected: list[str], says: Says, tmp_path: Path):
    for number in range(1100):
        picture(digits[number % COUNT]).save(tmp_path / f"{number:04d}.png")
    status, out, _ = says(run, tmp_path, "--csv")
    assert status == 0
    assert [row["class"] for row in csv.DictReader(io.StringIO(out))] == [expected[n % COUNT] for n in range(1100)]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["no-such-run", "x.png"], 1, "there is no run of that id, name or directory"),
        (["RUN"], 2, "there is no picture to look at"),
        (["RUN", "checkpoint=last"], 2, "there is no picture to look at"),
        (["RUN", "x.png", "checkpoint=lst"], 2, "did you mean 'last'"),
        (["RUN", "x.png", "checkpont=last"], 2, "did you mean 'checkpoint'"),
    ],
)
def test_a_wrong_command_line(run: Path, says: Says, words: list[str], status: int, said: str):
    found, out, err = says(*(run if word == "RUN" else word for word in words))
    assert (found, out) == (status, "")
    assert said in err
    assert "Traceback" not in err


def test_a_file_whose_name_looks_like_a_setting_is_a_file(
    run: Path, digits: Tensor, says: Says, tmp_path: Path, monkeypatch
):
    picture(digits[0]).save(tmp_path / "a=1.png")
    monkeypatch.chdir(tmp_path)
    status, out, err = says(run, "a=1.png", "--csv")
    assert status == 0, err
    assert "a=1.png" in out


def test_a_run_on_other_data_than_pictures_is_refused(says: Says, tmp_path: Path, digits: Tensor):
    points = make(
        tmp_path / "points", "experiment=article_binary", "trainer.max_epochs=1", "callbacks.last.every_n_epochs=1"
    )
    picture(digits[0]).save(tmp_path / "0.png")
    status, out, err = says(points, tmp_path / "0.png", "checkpoint=last")
    assert (status, out) == (1, "")
    assert "takes samples of shape 2, which are not images" in err


def test_classes_go_by_their_names_in_predictions_and_in_results(says: Says, tmp_path: Path):
    root = small_images(tmp_path / "data", "FashionMNIST")
    words = [
        "data=fashion_mnist",
        f"data.dir={root}",
        "data.val_size=1000",
        "data.train_size=2000",
        "trainer.max_epochs=3",
    ]
    run = make(tmp_path / "run", *words)
    data = FashionMNIST(dir=str(root), val_size=0)
    images, labels = data.load(train=False)
    names = data.class_names
    for number in range(20):
        picture(images[number]).save(tmp_path / f"{number:02d}.png")
    rows = json.loads(says(run, tmp_path, "--json")[1])
    assert [row["class"] for row in rows] == [names[label] for label in labels[:20].tolist()]
    assert json.loads((run / RESULTS).read_text())["classes"] == [*names]


def test_help_imports_neither_torch_nor_pillow():
    code = (
        "import sys\nfrom src.predict import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'lightning', 'torchvision', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "checkpoint=best|last" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

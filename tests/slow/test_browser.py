"""What a person sees: every tab of TensorBoard in a real browser, compared with what the runs recorded.

With SCREENSHOTS set to a folder, the images of the documentation are written to it: docs/dashboard-*.png and docs/overview.png.
"""

import base64
import io
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Frame, Page, sync_playwright

from src.formatting import figure
from src.paths import ROOT
from src.records.record import Record
from src.records.summary import summary
from tests.conftest import MakeRun
from tests.helpers.boards import FAILURE, SUCCESS, Dashboard, dashboard, eventually, records, train, wait_for
from tests.helpers.browsers import CHROMIUM, NEEDS_CHROMIUM, QUIET, events
from tests.helpers.runs import log
from tests.helpers.screens import COLUMNS, as_html, final_lines, in_a_terminal, prompt

pytestmark = NEEDS_CHROMIUM


# Where the older tabs show what their filter finds.
FOUND = "tf-category-paginated-view >> nth=0 >> "


# The text of an element with all its shadow roots, a line a piece.
TEXT = """
    element => {
        const found = []
        const walk = node => {
            if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) found.push(node.textContent.trim())
            if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.tagName)) return
            if (node.shadowRoot) walk(node.shadowRoot)
            node.childNodes.forEach(walk)
        }
        walk(element)
        return found
    }
"""


def save(png: bytes, file: Path) -> None:
    """Write an image of the documentation, with 256 colors."""
    colors = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colors.save(file, optimize=True)


class Browser:
    """A page that shows a dashboard."""

    def __init__(self, page: Page, board: Dashboard) -> None:
        self.page, self.board = page, board
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, tab: str, tags: str | None = None) -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self.board.address}/?smoothing=0#{tab}")
        if tags:
            self.page.locator("tf-tag-filterer input").fill(tags)

    def texts(self, selector: str, root: Page | Frame | None = None) -> list[list[str]]:
        return [element.evaluate(TEXT) for element in (root or self.page).locator(selector).all()]

    def until(self, selector: str, count: int, root: Page | Frame | None = None) -> list[list[str]]:
        """The texts of so many elements, once there are so many and each says something."""
        return wait_for(lambda: found if len(found := self.texts(selector, root)) == count and all(found) else None, 40)

    def keep(self, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.wait_for_timeout(1500)  # until what moves has come to rest
            save(self.page.screenshot(), Path(folder, f"dashboard-{name}.png"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six with all callbacks, of which two failed."""
    outputs = tmp_path_factory.mktemp("trained") / "outputs"
    settings = ["data.train_size=20000", "trainer.max_epochs=4", "callbacks=full"]
    assert train(outputs, "-m", *settings, "optimizer.lr=0.001,0.01,1e30", "seed=1,2").wait() == 1
    return outputs


@pytest.fixture(scope="module")
def jobs(trained: Path) -> list[Record]:
    return records(trained)


@pytest.fixture(scope="module")
def names(jobs: list[Record]) -> list[str]:
    """The names of the runs: of the first four, which are done, and of two that failed."""
    rates = ("0.001", "0.01", "1e+30")
    return [f"lr={rates[n // 2]} seed {n % 2 + 1} {n:03d}{' (failed)' if n > 3 else ''}" for n in range(len(jobs))]


MEANS = ["lr=0.001 mean of 2", "lr=0.01 mean of 2"]


@pytest.fixture(scope="module")
def board(trained: Path) -> Iterator[Dashboard]:
    with dashboard(trained, "--sweep", "latest") as board:
        wait_for(lambda: len(board.runs()) == 8)
        wait_for(lambda: all(board.ask("plugins_listing")[name]["enabled"] for name in PLUGINS))

        def check() -> None:  # all has been read
            sessions = [session for row in board.hparams().values() for session in row["sessions"]]
            assert sorted(session["status"] for session in sessions) == [*[FAILURE] * 2, *[SUCCESS] * 4]
            assert sorted(len(session["metricValues"]) for session in sessions) == [0, 0, *[15] * 4]

        eventually(check)
        yield board


PLUGINS = ("scalars", "images", "histograms", "graphs", "text", "hparams", "custom_scalars", "pr_curves", "projector")


@pytest.fixture
def browser(board: Dashboard) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        seen = Browser(page, board)
        yield seen
        chromium.close()
        assert not seen.errors


def five_digits(value: float) -> float:
    return float(f"{value:.5g}")


def rows(browser: Browser) -> list[list[str]]:
    """The cells of HParams' table, as far as they are shown, a list a row; the heading comes first."""
    grids = browser.page.locator("tf-hparams-table-view vaadin-grid")
    if not grids.count():
        return []
    found = grids.first.evaluate(
        "grid => Array.from(grid.shadowRoot.querySelectorAll('thead tr, #items tr'), row => row.checkVisibility() ?"
        " Array.from(row.querySelectorAll('th slot, td slot'), slot =>"
        " slot.assignedNodes().map(node => node.textContent.trim()).join(' ')) : [])"
    )
    return [row for row in found if any(row)]


def test_hparams_has_a_row_for_each_configuration_with_mean_std_and_n(
    browser: Browser, jobs: list[Record], names: list[str]
):
    browser.open("hparams")
    heading, *table = wait_for(lambda: found if len(found := rows(browser)) == 5 else None)
    shown = {row[0]: dict(zip(heading, row, strict=False)) for row in table}  # the last cell is for dragging
    assert heading[2:] == ["lr", "best/val/acc", "best/val/acc std", "n", "val/acc", "test/acc"]
    configurations = {"lr=0.001": jobs[:2], "lr=0.01": jobs[2:4]}
    assert sorted(shown) == sorted([*configurations, *names[4:]])
    for name, runs in configurations.items():
        row = {column: float(shown[name][column]) for column in heading[2:]}
        values = {tag: [summary(run).metrics[tag] for run in runs] for tag in ("best/val/acc", "val/acc", "test/acc")}
        expected = {tag: statistics.fmean(found) for tag, found in values.items()}
        expected |= {"best/val/acc std": statistics.stdev(values["best/val/acc"]), "n": 2}
        expected["lr"] = runs[0].values["config"]["optimizer"]["lr"]
        assert row == {column: pytest.approx(value, rel=5e-5) for column, value in expected.items()}
    for name in names[4:]:  # failed before there was anything to validate
        assert [shown[name][column] for column in heading[2:]] == ["1.0000e+30", "", "", "", "", ""]
    browser.keep("hparams")
    browser.page.locator("paper-checkbox", has_text="Success").click()
    wait_for(lambda: sorted(row[0] for row in rows(browser)[1:]) == names[4:])
    browser.page.locator("paper-checkbox", has_text="Success").click()
    browser.page.locator("paper-checkbox", has_text="Failure").click()
    wait_for(lambda: sorted(row[0] for row in rows(browser)[1:]) == [*configurations])


def test_the_first_page_shows_training_and_validation(browser: Browser, jobs: list[Record], names: list[str]):
    browser.page.goto(browser.board.address)
    groups = wait_for(lambda: browser.texts("mat-card.card-group, card-group-toolbar, metrics-card-group-toolbar"))
    assert [text[0] for text in groups][:2] == ["train", "val"]
    cards = wait_for(lambda: found if len(found := browser.texts("scalar-card")) == 4 and all(found) else None)
    assert ["".join(card[:2]) for card in cards] == ["train/acc", "train/loss", "val/acc", "val/loss"]
    runs = wait_for(lambda: browser.texts("runs-data-table tb-data-table-content-row"))
    assert sorted(text[0] for text in runs) == sorted([*MEANS, *names])
    assert "smoothing=0" in browser.page.url
    browser.keep("time-series")


def test_curves_end_at_the_recorded_metrics(browser: Browser, jobs: list[Record], names: list[str]):
    browser.open("timeseries")
    browser.page.get_by_role("combobox", name="Filter tags (regex)").fill("^val/acc$")
    card, *_ = wait_for(lambda: [c for c in browser.texts("scalar-card") if c[:2] == ["val", "/acc"] and names[3] in c])
    last = [record.values["metrics"]["val/acc"] for record in jobs[:4]]
    means = [statistics.fmean(last[:2]), statistics.fmean(last[2:])]
    for name, expected in zip([*names[:4], *MEANS], [*last, *means], strict=True):
        value, step = card[card.index(name) + 1 :][:2]
        assert float(value) == pytest.approx(expected, abs=1e-4)
        assert step == "1,252"
    assert not set(names[4:]) & set(card)  # they failed before there was anything to validate
    browser.open("scalars", "^within the epochs/(gradient|lr|samples)")
    tags = ["gradient_norm", "lr", "samples", "samples_per_s"]
    shown = [f"within the epochs/{tag}" for tag in tags]
    assert wait_for(lambda: [text[0] for text in browser.texts(f"{FOUND}tf-scalar-card") if text]) == shown


def test_training_and_validation_share_a_chart(browser: Browser, names: list[str]):
    browser.open("custom_scalars")
    cards = browser.until("tf-custom-scalar-multi-line-chart-card", 8)
    assert [card[0] for card in cards][:2] == ["loss", "accuracy"]
    expected = {f"{stage}/loss ({name})" for stage in ("train", "val") for name in [*names[:4], *MEANS]}
    assert expected == {text for text in cards[0] if text.startswith(("train/", "val/"))}


def test_mean_and_band_are_charts(browser: Browser, jobs: list[Record]):
    selector = "tf-custom-scalar-margin-chart-card"
    browser.open("custom_scalars")
    cards = browser.until(selector, 4)
    titles = [card[0] for card in cards]
    assert sorted(titles) == ["train/acc", "train/loss", "val/acc", "val/loss"]
    box = browser.page.locator(selector).nth(titles.index("val/acc")).bounding_box()

    def tooltip() -> list[str] | None:
        browser.page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 90)
        browser.page.mouse.move(box["x"] + box["width"] - 40, box["y"] + 100)  # to the right, at the last points
        browser.page.wait_for_timeout(500)
        shown = [text for text in browser.texts("vz-line-chart-tooltip") if "Lower Margin" in text]
        return shown[0] if shown and f"val/acc ({MEANS[1]})" in shown[0] else None

    text = wait_for(tooltip, 30)
    for name, runs in zip(MEANS, (jobs[:2], jobs[2:4]), strict=True):
        *shown, step = text[text.index(f"val/acc ({name})") + 1 :][:4]
        assert step == "1.252k"
        values = [run.values["metrics"]["val/acc"] for run in runs]
        mean, std = statistics.fmean(values), statistics.stdev(values)
        assert list(map(float, shown)) == pytest.approx([mean, mean - std, mean + std], abs=1e-4)
    browser.keep("custom-scalars")


@pytest.mark.parametrize("tag", ["mistakes", "confusion_matrix", "reliability", "first_layer", "inputs"])
def test_pictures_are_those_of_the_runs(browser: Browser, jobs: list[Record], names: list[str], tag: str):
    browser.open("images", f"^{tag}$")
    shown = jobs if tag in ("first_layer", "inputs") else jobs[:4]  # what failed was never tested
    loaders = browser.until(f"{FOUND}tf-image-loader", len(shown))
    pictures = browser.page.locator(f"{FOUND}tf-image-loader img")
    wait_for(lambda: pictures.count() == len(shown))
    found = {}
    for text, image in zip(loaders, pictures.all(), strict=True):
        assert text[0] == tag
        wait_for(lambda image=image: image.evaluate("image => image.complete && image.naturalWidth"))
        data = image.evaluate(
            "async image => { const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());"
            " return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join('')) }"
        )
        found[text[1]] = base64.b64decode(data)
    for record, name in zip(shown, names, strict=False):
        assert found[name] == events(record).Images(tag)[-1].encoded_image_string
    if tag == "mistakes":
        browser.keep("mistakes")


def test_weights_and_gradients_have_histograms(browser: Browser, names: list[str]):
    browser.open("histograms")
    wait_for(lambda: "gradients/layers.0.weight" in {text[0] for text in browser.texts("tf-histogram-loader") if text})
    shown = {(text[0], text[1]) for text in browser.texts("tf-histogram-loader") if text}
    assert {name for tag, name in shown if tag == "gradients/layers.0.weight"} == set(names[:4])
    assert browser.page.locator("tf-histogram-loader svg path").count() >= 3


def test_the_graph_shows_the_network_between_input_and_output(browser: Browser):
    browser.open("graphs")
    wait_for(lambda: any({"input", "MLP", "output"} <= set(text) for text in browser.texts("tf-graph-scene")))


def test_texts_tell_of_configuration_environment_and_result(browser: Browser, jobs: list[Record], names: list[str]):
    browser.open("text", "^(result|environment)")

    def check() -> None:  # the names of the cards are there before their texts
        cards = browser.until(f"{FOUND}tf-text-loader", 12)
        results = {card[1]: card for card in cards if card[0] == "result/text_summary"}
        environments = {card[1]: card for card in cards if card[0] == "environment/text_summary"}
        for record, name in zip(jobs, names, strict=True):
            run = record.values
            assert results[name][results[name].index("status") + 1] == run["status"]
            assert (run["error"] is None) or run["error"] in results[name]
            for tag, value in run["metrics"].items():
                assert results[name][results[name].index(tag) + 1] == figure(value)
            torch = environments[name].index("torch")
            assert environments[name][torch + 1] == run["environment"]["packages"]["torch"]

    eventually(check)


def test_each_class_has_a_curve_of_precision_over_recall(browser: Browser, names: list[str]):
    browser.open("pr_curves")
    cards = browser.until("tf-pr-curve-card", 10)
    assert [card[0] for card in cards] == [f"pr/{number}" for number in range(10)]
    for card in cards:
        assert {text.removesuffix(" is at") for text in card if text.endswith(" is at")} == set(names[:4])


def test_the_projector_shows_a_thousand_points(browser: Browser, jobs: list[Record], names: list[str]):
    browser.open("projector")

    def inner() -> Frame | None:
        browser.page.wait_for_timeout(200)  # frames come to be known only while the page is asked something
        return next((frame for frame in browser.page.frames if frame.url.endswith("projector_binary.html")), None)

    frame = wait_for(inner)

    def status() -> list[str]:
        [text] = browser.texts("vz-projector", frame) or [[]]
        return [text[text.index(word) + 1] for word in ("Points:", "Dimension:") if word in text]

    wait_for(lambda: status() == ["1000", "64"])
    [said] = browser.texts("vz-projector", frame)
    assert {name for name in names if name in said} == set(names[:4])
    # What the points are labelled by comes from the first run's file.
    labels = (jobs[0].directory / "01252/penultimate/metadata.tsv").read_text().splitlines()[1:]
    assert len(labels) == 1000
    browser.keep("projector")


def test_plain_tensorboard_over_the_outputs_tells_the_truth_too(trained: Path, jobs: list[Record]):
    """Without src.dashboard the names are paths and the columns are all settings, but the values are the same."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(trained), "--port", "0", "--host", "127.0.0.1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "http://" in line)
        board = Dashboard.__new__(Dashboard)
        board.address = line[line.index("http://") :].split("/ ")[0]

        def check() -> None:
            groups = board.hparams()
            assert len(groups) == 6
            for record in jobs:
                run = str(record.directory.relative_to(trained))
                [session] = groups[run]["sessions"]
                assert session["status"] == (SUCCESS if record.values["status"] == "done" else FAILURE)
                if record.values["status"] == "done":
                    shown = board.scalars(run, "val/acc")[-1][1]
                    assert shown == pytest.approx(record.values["metrics"]["val/acc"], rel=1e-6)
                    [found] = board.ask("plugin/projector/info", run=run)["embeddings"]
                    assert found["tensorName"] == "penultimate:01252"

        eventually(check)
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("loader", [[], ["--slow-loader"]])
def test_a_row_and_its_mean_follow_the_seeds(make_run: MakeRun, outputs: Path, loader: list[str]):
    def add(seed: int, accuracy: float) -> Record:
        record = make_run(f"seed={seed}", status="running", events=True, accuracy=accuracy)
        log(record, "val/acc", 0.0, accuracy)
        record.update(status="done")
        return record

    _, second = add(1, 0.1), add(2, 0.2)
    for seed in (1, 2):
        make_run("optimizer.lr=0.5", f"seed={seed}", events=True)
    with dashboard(outputs, *loader) as board:

        def check(*expected: float) -> None:
            row, count = board.hparams()["lr=0.001"], len(expected)
            values = board.values(row)
            assert (values["n"], len(row["sessions"])) == (count, count)
            assert values["best/val/acc"] == pytest.approx(statistics.fmean(expected))
            std = statistics.stdev(expected) if count > 1 else math.nan
            assert float(values["best/val/acc std"]) == pytest.approx(std, nan_ok=True)
            means = {name for name in board.runs() if name.startswith("lr=0.001 mean")}
            assert means == ({f"lr=0.001 mean of {count}"} if count > 1 else set())
            for mean in means:
                [first, last] = board.scalars(mean, "val/acc")
                assert (first, last) == ((10, 0.0), (20, pytest.approx(statistics.fmean(expected))))

        eventually(lambda: check(0.1, 0.2))
        third = add(3, 0.6)
        eventually(lambda: check(0.1, 0.2, 0.6))
        again = add(3, 0.9)
        eventually(lambda: check(0.1, 0.2, 0.9))
        for record in (second, third, again):
            shutil.rmtree(record.directory)
        eventually(lambda: check(0.1))


def data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def overview(outputs: Path, terminal: str) -> bytes:
    """A PNG of a terminal's text above the dashboard's curves and HParams of the latest sweep."""
    with dashboard(outputs, "--sweep", "latest") as board, sync_playwright() as playwright:
        wait_for(lambda: len(board.runs()) == 9)
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = chromium.new_page(viewport={"width": 1100, "height": 505}, device_scale_factor=2)
        browser = Browser(page, board)
        page.goto(f"{board.address}/#timeseries")
        page.get_by_role("combobox", name="Filter tags (regex)").fill("^val/(acc|loss)$")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Settings").first.click()
        shown = [["val", "/acc"], ["val", "/loss"]]  # above the cards that the filter leaves out
        wait_for(lambda: [card[:2] for card in browser.texts("scalar-card")][:2] == shown)
        page.wait_for_timeout(8000)  # the curves and their axes are drawn after the headings
        curves = page.screenshot(clip={"x": 0, "y": 0, "width": 1100, "height": 474})
        page.set_viewport_size({"width": 1420, "height": 505})
        browser.open("hparams")
        wait_for(lambda: len(rows(browser)) == 4)
        page.wait_for_timeout(1500)
        [x, y] = [page.locator("tf-hparams-table-view").bounding_box()[side] for side in "xy"]
        hparams = page.screenshot(clip={"x": x, "y": y + 6, "width": 1060, "height": 176})
        page.set_viewport_size({"width": 1100 + 2 * 24, "height": 900})
        template = (ROOT / "tests" / "helpers" / "overview.html").read_text()
        parts = {"TERMINAL": terminal, "CURVES": data_url(curves), "HPARAMS": data_url(hparams)}
        page.set_content(re.sub("|".join(parts), lambda found: parts[found[0]], template))
        png = page.screenshot(full_page=True)
        chromium.close()
    return png


def test_the_output_of_a_sweep_fits_into_80_columns(tmp_path: Path):
    folder = os.environ.get("SCREENSHOTS")
    sweep = ["-m", "optimizer.lr=0.0003,0.001,0.003", "seed=1,2"]
    short = [] if folder else ["trainer.max_epochs=2"]
    output = in_a_terminal("src.train", *sweep, *short, outputs=tmp_path).replace(str(tmp_path), "outputs")
    lines = final_lines(output)
    plain = [re.sub(r"\x1b\[[0-9;?]*m", "", line).rstrip() for line in lines]
    assert (
        len([line for line in plain if re.match(r"\[\d/6\] job 00\d done, best/val/acc 0\.9\d+ in epoch ", line)]) == 6
    )
    assert len([line for line in plain if re.match(r"00[0-5]  done    0\.9", line)]) == 6
    fixed = " trainer.max_epochs=2"
    assert [line for line in plain if len(line.replace(fixed, "")) > COLUMNS] == []
    if folder:
        terminal = prompt(f"python -m src.train {' '.join(sweep)}") + as_html(lines)
        png = overview(tmp_path, f"{terminal.rstrip()}\n{prompt('python -m src.dashboard --sweep latest')}")
        save(png, Path(folder, "overview.png"))

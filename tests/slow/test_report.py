"""The report of a sweep in a real browser without a network, compared with what the runs recorded.

With SCREENSHOTS set to a folder, the image of the documentation is written to it: docs/report.png.
"""

import io
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from src.formatting import figure
from src.paths import ROOT
from src.records.record import Record
from src.records.summary import summary
from src.views.report import make_report
from tests.conftest import MakeRun
from tests.helpers.boards import records, wait_for
from tests.helpers.browsers import CHROMIUM, NEEDS_CHROMIUM, QUIET, events
from tests.helpers.runs import log
from tests.helpers.sweeps import a_sweep

pytestmark = NEEDS_CHROMIUM


class Report:
    """A report of a sweep in a browser without a network."""

    def __init__(self, page: Page, jobs: list[Record]) -> None:
        self.page, self.jobs = page, jobs
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("request", lambda request: request.url.startswith("file:") or self.problems.append(request.url))

    def job(self, id: str) -> Record:
        return next(job for job in self.jobs if job.directory.name == id)

    def rows(self) -> list[list[str]]:
        """The cells of the visible rows of the table of runs."""
        rows = self.page.locator("#runs tbody tr").all()
        return [row.locator("th, td").all_inner_texts() for row in rows if row.is_visible()]

    def column(self, heading: str) -> list[str]:
        headings = self.page.locator("#runs thead th").all_inner_texts()
        index = [text.split(" ▲")[0].split(" ▼")[0].strip() for text in headings].index(heading)
        return [row[index] for row in self.rows()]

    def sort(self, heading: str) -> None:
        self.page.locator("#runs thead button").get_by_text(heading, exact=True).click()

    def chart(self, title: str) -> Locator:
        return self.page.locator("figure[data-chart]", has=self.page.locator(f"b:text-is('{title}')"))

    def tip(self) -> tuple[str, dict[tuple[str, str], str]]:
        """The title of the tooltip, and its values by configuration and tag."""
        cells = self.page.locator("#tip tr").evaluate_all(
            "rows => rows.map(row => Array.from(row.cells, c => c.innerText))"
        )
        return self.page.locator("#tip").evaluate("tip => tip.firstChild.textContent"), {
            (name.strip(), tag): value for name, tag, value in cells
        }

    def point_at(self, chart: Locator, fraction: float, height: float = 0.5) -> None:
        """Move the pointer over a chart to a fraction of its curves' length, and of its height from the top."""
        chart.scroll_into_view_if_needed()
        box = chart.locator("svg").bounding_box()
        assert box
        self.page.mouse.move(box["x"] + 58 + fraction * (box["width"] - 66), box["y"] + height * box["height"])


@pytest.fixture(scope="module")
def sweep_with_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], Path]:
    """The jobs of a sweep with three learning rates, of which one diverges, two rates of dropout and two seeds; its report."""
    outputs = tmp_path_factory.mktemp("reported") / "outputs"

    def run(module: str, *words: str) -> None:
        env = {**os.environ, "OUTPUTS_DIR": str(outputs)}
        subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, env=env, capture_output=True, timeout=200)

    small = ["data.train_size=2000", "data.val_size=500", "model.hidden=[32]", "trainer.max_epochs=8"]
    run("src.train", "-m", "optimizer.lr=0.001,0.01,1e30", "model.dropout=0,0.3", "seed=1,2", *small)
    [sweep] = (outputs / "sweeps").iterdir()
    run("src.runs", "baseline", f"{sweep.name}-001")
    run("src.runs", "report", sweep.name)
    return records(outputs), sweep / "report.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def report(chromium: Browser, sweep_with_report: tuple[list[Record], Path]) -> Iterator[Report]:
    jobs, file = sweep_with_report
    with chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True) as context:
        seen = Report(context.new_page(), jobs)
        seen.page.goto(file.as_uri())
        yield seen
        assert not seen.problems


def configuration(job: Record) -> str:
    config = job.values["config"]
    return f"dropout={config['model']['dropout']} lr={config['optimizer']['lr']}"


def replicates(jobs: list[Record]) -> dict[str, list[Record]]:
    """The jobs that are done by their configuration."""
    done = [job for job in jobs if job.status == "done"]
    return {name: [job for job in done if configuration(job) == name] for name in map(configuration, done)}


def curve(record: Record, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in events(record).Scalars(tag)}


def test_a_reports_table_shows_and_sorts_the_recorded_values(report: Report):
    runs = {job.directory.name: summary(job) for job in report.jobs}
    assert report.column("run") == sorted(runs, key=lambda id: runs[id].rank)
    for heading in ("best/val/acc", "val/loss", "test/acc"):
        shown = dict(zip(report.column("run"), report.column(heading), strict=True))
        assert shown == {id: figure(run.metrics.get(heading)) for id, run in runs.items()}
    pinned = configuration(report.jobs[1])
    baseline = statistics.fmean(summary(job).best or 0.0 for job in replicates(report.jobs)[pinned])
    differences = zip(report.column("run"), report.column("vs baseline"), strict=True)
    assert dict(differences) == {id: f"{run.best - baseline:+.4g}" if run.best else "" for id, run in runs.items()}

    losses = {id: run.metrics["val/loss"] for id, run in runs.items() if "val/loss" in run.metrics}
    report.sort("val/loss")
    assert report.column("run")[:8] == sorted(losses, key=losses.__getitem__)
    report.sort("val/loss")
    assert report.column("run")[:8] == sorted(losses, key=losses.__getitem__, reverse=True)
    assert report.column("status")[8:] == ["failed"] * 4  # without a value they remain last
    [sorted_by] = report.page.locator("#runs th[aria-sort]").all()
    assert (sorted_by.inner_text(), sorted_by.get_attribute("aria-sort")) == ("val/loss", "descending")
    report.page.locator("#runs thead button").get_by_text("seed", exact=True).focus()
    report.page.keyboard.press("Enter")
    assert report.column("seed") == ["1"] * 6 + ["2"] * 6


def test_rows_are_filtered_with_their_curves_and_details(report: Report):
    report.page.locator("#filter").fill("0.001")
    assert report.column("lr") == ["0.001"] * 4
    assert report.page.locator("#count").inner_text() == "4 of 12 runs"
    assert {*report.page.locator("#legend button").all_inner_texts()} == {"dropout=0.0 2 runs", "dropout=0.3 2 runs"}
    assert report.page.locator("#common").inner_text() == "All have lr=0.001."
    assert report.page.locator(".run:visible").count() == 4
    report.page.locator("#clear").click()
    assert len(report.rows()) == 12


def test_a_curve_shows_mean_and_spread_of_the_replicates_under_the_pointer(report: Report):
    chart = report.chart("loss")
    groups = replicates(report.jobs)
    ranked = dict.fromkeys(configuration(report.job(id)) for id in report.column("run"))
    legend = report.page.locator("#legend button").all_inner_texts()
    assert legend == [f"{name} 2 runs" for name in ranked if name in groups]
    assert chart.locator(".band").count() == 8  # training and validation of four configurations
    report.point_at(chart, 1)
    title, values = report.tip()
    last = max(curve(report.jobs[0], "val/loss"))
    assert title == f"step {last}"
    for name, jobs in groups.items():
        for tag in ("train/loss", "val/loss"):
            found = [curve(job, tag)[last] for job in jobs]
            number, _, spread = values[name, tag].partition(" ± ")
            assert float(number) == pytest.approx(statistics.fmean(found), rel=1e-3)
            assert spread.endswith(" (n = 2)")
            assert float(spread.split()[0]) == pytest.approx(statistics.stdev(found), rel=0.06)

    report.page.locator("#mean").uncheck()
    assert chart.locator(".band").count() == 0
    assert chart.locator(".line").count() == 16
    report.point_at(chart, 1)
    _, values = report.tip()
    assert len(values) == 12  # those nearest to the pointer
    for (name, tag), value in values.items():
        assert float(value) == pytest.approx(curve(report.job(name.split()[-1]), tag)[last], rel=1e-3)


def test_curves_can_be_hidden_enlarged_and_read_with_the_keyboard(report: Report):
    chart = report.chart("acc")
    report.page.locator("#legend button").first.click()
    assert chart.locator(".line").count() == 6
    assert report.page.locator("#legend button").first.get_attribute("aria-pressed") == "false"
    report.page.locator("#legend button").first.press("Enter")
    assert chart.locator(".line").count() == 8

    ticks = "figure[data-chart] svg >> nth=1 >> text.step"
    before = report.page.locator(ticks).all_text_contents()
    report.point_at(chart, 0.5)
    report.page.mouse.down()
    report.point_at(chart, 0.9)
    report.page.mouse.up()
    steps = sorted(curve(report.jobs[0], "val/acc"))
    enlarged = [float(text) for text in report.page.locator(ticks).all_text_contents()]
    assert len(before) > 1
    assert steps[0] + 0.45 * (steps[-1] - steps[0]) < min(enlarged) <= max(enlarged) < steps[-1]
    chart.locator("svg").dblclick()
    assert report.page.locator(ticks).all_text_contents() == before

    report.page.mouse.move(0, 0)
    chart.locator("svg").focus()
    report.page.keyboard.press("ArrowRight")
    report.page.keyboard.press("ArrowRight")
    title, values = report.tip()
    assert title == f"step {steps[2]}"
    for name, jobs in replicates(report.jobs).items():
        mean = statistics.fmean(curve(job, "val/acc")[steps[2]] for job in jobs)
        assert float(values[name, "val/acc"].split()[0]) == pytest.approx(mean, rel=1e-3)


def test_lines_of_the_parallel_coordinates_are_the_runs_and_axes_select_them(report: Report):
    axes = report.page.locator("#parallel .axis")
    assert axes.locator(".name").all_text_contents() == ["dropout", "lr", "best/val/acc", "test/acc"]
    assert axes.nth(0).locator(".tick").all_text_contents() == ["0.0", "0.3"]  # from the bottom to the top
    assert axes.nth(1).locator(".tick").all_text_contents() == ["0.001", "0.01", "1e+30"]
    axis = axes.nth(2)
    best = {job.directory.name: summary(job).best for job in report.jobs}
    low, high = (function(value for value in best.values() if value) for function in (min, max))
    ticks = axis.locator(".tick").all_text_contents()
    assert (ticks[0], ticks[-2]) == (figure(low), figure(high))  # the last is that of runs without a value
    assert f", {figure(low)} to {figure(high)};" in (axis.get_attribute("aria-label") or "")
    [top, bottom] = axis.locator("path").evaluate("path => path.getAttribute('d').match(/[\\d.]+/g).slice(1)")
    lines = report.page.locator("#parallel .run-line")
    order = report.column("run")
    for line in lines.all():
        value = best[order[int(line.get_attribute("data-run") or "")]]
        y = float((line.get_attribute("d") or "").split("L")[2].split()[1])
        if value:
            expected = float(bottom) - (value - low) / (high - low) * (float(bottom) - float(top))
            assert y == pytest.approx(expected, abs=0.1)
        else:
            assert y > float(bottom)  # at the word none
    assert lines.count() == 12

    report.page.locator("#parallel svg").scroll_into_view_if_needed()
    box = report.page.locator("#parallel svg").bounding_box()
    x = float(axis.locator("text").first.get_attribute("x") or "")
    assert box
    report.page.mouse.move(box["x"] + x, box["y"] + float(top) - 5)
    report.page.mouse.down()
    report.page.mouse.move(box["x"] + x, box["y"] + float(top) + 100, steps=4)
    report.page.mouse.up()
    bound = high - 100 / (float(bottom) - float(top)) * (high - low)
    selected = [id for id in order if (best[id] or 0) >= bound]
    assert 0 < len(selected) < 12
    assert report.column("run") == selected
    assert report.page.locator("#parallel .run-line:not(.out)").count() == len(selected)
    axis.press("Escape")
    assert len(report.rows()) == 12
    for _ in range(2):
        axis.press("ArrowUp")
    bound = low + 0.1 * (high - low)
    assert report.column("run") == [id for id in order if (best[id] or 0) >= bound]


def test_a_run_opens_with_its_confusion_matrix_and_calibration(report: Report):
    assert report.page.locator(".run[open]").count() == 0
    link = report.page.locator("#runs tbody a").first
    link.click()
    [run] = report.page.locator(".run[open]").all()
    [job] = [job for job in report.jobs if job.directory.name == link.inner_text()]
    results = json.loads((job.directory / "results.json").read_text())
    shown = [row.locator("td:not(.rate)").all_inner_texts() for row in run.locator(".confusion tbody tr").all()[:-1]]
    assert [[int(cell) for cell in row] for row in shown] == results["confusion"]
    recall = [f"{100 * row[number] / sum(row):.1f}" for number, row in enumerate(results["confusion"])]
    assert [row.locator("td.rate").inner_text() for row in run.locator(".confusion tbody tr").all()[:-1]] == recall
    points = run.locator(".reliability circle").all()
    bins = [one for one in results["calibration"]["bins"] if one["count"]]
    for point, one in zip(points, bins, strict=True):
        x, y = (float(point.get_attribute(name) or "") for name in ("cx", "cy"))
        assert ((x - 50) / 310, (290 - y) / 280) == pytest.approx((one["confidence"], one["accuracy"]), abs=1e-3)
    assert f"{results['calibration']['ece']:.4f}" in (run.locator(".reliability").get_attribute("aria-label") or "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_legible_in_both_schemes(report: Report, scheme: Literal["light", "dark"]):
    report.page.emulate_media(color_scheme=scheme)

    def luminance(name: str) -> float:
        """Relative luminance of a color, as defined by WCAG 2."""
        color = report.page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')").strip()
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    back = luminance("back")
    assert (back < 0.1) == (scheme == "dark")
    for name in ("text", "muted", "link", "done", "failed", "stopped", "running"):
        low, high = sorted((back, luminance(name)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name
    for number in range(10):  # lines need less
        low, high = sorted((back, luminance(f"c{number}")))
        assert (high + 0.05) / (low + 0.05) >= 3, number


@pytest.mark.parametrize("width", [1280, 400])
def test_a_report_is_never_wider_than_the_window(report: Report, width: int):
    report.page.set_viewport_size({"width": width, "height": 900})
    report.page.locator("#runs tbody a").first.click()
    report.page.locator("#further summary").click()
    wait_for(lambda: report.chart("lr").locator(".line").count())
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width


def test_text_from_records_is_shown_and_never_run(chromium: Browser, make_run: MakeRun, tmp_path: Path):
    hostile = """</script><script>document.title = 'run'</script><img src=x onerror="document.title = 'run'">"""
    runs = [
        make_run(f"optimizer.lr={rate}", "seed=1", name=hostile + rate, note=hostile, accuracy=float(rate))
        for rate in ("0.1", "0.2", "0.3")
    ]
    for run in runs:
        log(run, "train/" + hostile, 1.0, 2.0)
    (tmp_path / "report.html").write_text(make_report(runs))
    with chromium.new_context(offline=True) as context:
        seen = Report(context.new_page(), runs)
        seen.page.goto((tmp_path / "report.html").as_uri())
        assert seen.column("note") == [hostile] * 3
        assert seen.page.locator("#legend button").first.inner_text() == f"{hostile}0.1 lr=0.1"
        seen.point_at(seen.page.locator("figure[data-chart]"), 0.5)
        assert hostile in seen.page.locator("#tip").inner_text()
        assert seen.page.title() == ", ".join(f"{hostile}{rate}" for rate in ("0.1", "0.2", "0.3"))
        assert not seen.problems


def test_the_table_and_the_charts_follow_from_each_other(report: Report):
    """Also the image of the documentation: the table, the parallel coordinates and the curves with the pointer over one."""
    report.page.set_viewport_size({"width": 1100, "height": 900})
    report.page.locator("#runs tbody tr").first.hover()
    emphasized = report.page.locator("#parallel .run-line.on")
    assert emphasized.count() == 1
    assert emphasized.get_attribute("data-run") == "0"
    assert report.page.locator(".charts .line.on").count() > 0
    if folder := os.environ.get("SCREENSHOTS"):
        report.page.set_viewport_size({"width": 1100, "height": 2600})
        report.point_at(report.chart("acc"), 0.6, 0.2)
        top, bottom = report.page.locator("#table").bounding_box(), report.page.locator("#tip").bounding_box()
        assert top
        assert bottom
        height = bottom["y"] + bottom["height"] - top["y"] + 10
        png = report.page.screenshot(clip={"x": 0, "y": top["y"], "width": 1100, "height": height})
        colors = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colors.save(Path(folder, "report.png"), optimize=True)


def test_the_runs_of_a_search_for_several_objectives_have_their_front(
    chromium: Browser, make_run: MakeRun, tmp_path: Path
):
    """Points are the runs; the filled ones lie on the front; with a third objective the axes can be chosen."""
    objectives = {"val/acc": "max", "latency_ms": "min", "flops": "min"}
    sweep = a_sweep(tmp_path / "outputs" / "sweeps" / "s1", 5, objectives)
    costs = [(0.9, 3.0, 300), (0.8, 1.0, 100), (0.75, 2.0, 200), (0.95, 4.0, 50), (0.1, 3.5, 300)]
    jobs = [
        make_run(f"optimizer.lr={n}", sweep="s1", accuracy=accuracy, metrics={"latency_ms": latency, "flops": flops})
        for n, (accuracy, latency, flops) in enumerate(costs, 1)
    ]
    (tmp_path / "report.html").write_text(make_report(jobs, sweep))
    with chromium.new_context(viewport={"width": 900, "height": 900}, offline=True) as context:
        seen = Report(context.new_page(), jobs)
        seen.page.goto((tmp_path / "report.html").as_uri())
        points = seen.page.locator("#front circle")
        assert points.count() == 4
        assert "Outside the chart: 1." in seen.page.locator("#front .note").inner_text()

        def at(row: int) -> tuple[float, float]:
            point = seen.page.locator(f"#front circle[data-run='{row}']")
            return float(point.get_attribute("cx") or 0), float(point.get_attribute("cy") or 0)

        ranked = seen.column("best/val/acc")
        assert ranked == ["0.9500", "0.9000", "0.8000", "0.7500", "0.1000"]
        front = seen.page.locator("#front circle.best").evaluate_all("all => all.map(one => one.dataset.run)")
        assert sorted(front) == ["0", "1", "2"]
        assert [at(row)[0] for row in (2, 3, 1, 0)] == sorted(at(row)[0] for row in range(4))  # latency
        assert [at(row)[1] for row in range(4)] == sorted(at(row)[1] for row in range(4))  # accuracy, the best on top
        seen.page.locator("#front-x").select_option("flops")
        assert at(0)[0] == min(at(row)[0] for row in range(4))
        seen.page.locator("#front circle[data-run='0']").hover()
        assert "0.9500" in seen.page.locator("#tip").inner_text()
        seen.page.locator("#front circle[data-run='0']").click()
        assert seen.page.locator("#run-0").get_attribute("open") is not None
        seen.page.locator("#filter").fill("0.7500")
        assert seen.page.locator("#front circle.out").count() == 3
        assert not seen.problems

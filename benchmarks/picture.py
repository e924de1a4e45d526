"""Plot the newest table of seconds per epoch in benchmarks/results.md: ``python -m benchmarks.picture`` writes docs/speed.png."""

import re
from pathlib import Path

from matplotlib.figure import Figure

from src.paths import ROOT

ROW = re.compile(r"^\| ([^|]+) \| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \|", re.MULTILINE)


def table(page: str) -> dict[str, tuple[float, float, float]]:
    """Median, minimum and maximum of each contender, from the first table whose heading begins with "epoch of"."""
    [rows, *_] = page.partition("| epoch of | seconds")[2].split("\n\n")
    return {name.replace("`", ""): (float(m), float(low), float(high)) for name, m, low, high in ROW.findall(rows)}


def draw(seconds: dict[str, tuple[float, float, float]], path: Path) -> None:
    """Plot a bar for each contender: the median, with an error bar from minimum to maximum."""
    names = list(reversed(seconds))
    medians = [seconds[name][0] for name in names]
    below = [median - minimum for median, minimum, _ in reversed(seconds.values())]
    above = [maximum - median for median, _, maximum in reversed(seconds.values())]
    figure = Figure(figsize=(8, 0.45 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if name.startswith("experiment=") else "tab:gray" for name in names]
    axes.barh(names, medians, xerr=[below, above], color=colors, height=0.6)
    axes.set_xlabel("seconds per epoch on two threads: median, minimum and maximum")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(table((ROOT / "benchmarks" / "results.md").read_text()), ROOT / "docs" / "speed.png")

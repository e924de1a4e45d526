"""Accuracy on four new digits over the number of samples of each, by several methods: the table and the figure of docs/few-shot.md.

The runs are those of the commands there, found by their names in outputs/: the classifiers trained on the samples, and the
prototypical networks, which are evaluated with support samples. The accuracy of the nearest class mean of raw pixels is computed.

    # Print the table, and draw docs/few-shot.png
    python -m benchmarks.few_shot
    # Another file
    python -m benchmarks.few_shot --image few-shot.png
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from src.analysis.evaluation import measure
from src.data.episodes import Episode, EpisodeLoader
from src.data.mnist import MNIST
from src.parsers import make_parser
from src.paths import ROOT
from src.records.find import all_runs
from src.tasks.prototypical import logits

SHOTS = (1, 5, 20, 100)
NEW = (6, 7, 8, 9)
QUERIES = 958  # test images of the rarest of the new digits
# Methods by the names of their runs.
TRAINED = {"scratch": "new weights", "finetuned": "fine-tuned", "frozen": "hidden layers frozen"}
PROTOTYPICAL, PIXELS = "prototypical network", "class means of pixels"

Values = dict[str, dict[int, list[float]]]  # accuracies of the seeds, by method and samples per class


def trained() -> Values:
    """test/acc of the finished runs of each method."""
    found: Values = {}
    for record in all_runs():
        run = record.values
        if run["name"] in TRAINED and record.status == "done":
            shots = run["config"]["data"]["per_class"]
            found.setdefault(TRAINED[run["name"]], {}).setdefault(shots, []).append(run["metrics"]["test/acc"])
    return found


def evaluated(**changes: int) -> dict[int, list[float]]:
    """test/acc of the prototypical networks for each number of support samples, with these settings of the task."""
    networks = [one for one in all_runs() if one.values["name"] == "prototypical" and one.status == "done"]
    return {
        shots: [measure(one, changes={"eval_shots": shots, **changes}).entry["metrics"]["test/acc"] for one in networks]
        for shots in SHOTS
    }


def of_pixels(seeds: range = range(1, 6)) -> dict[int, list[float]]:
    """Accuracy of the nearest class mean of raw pixels, for the support samples and queries of one episode of each seed."""
    data = MNIST()
    data.prepare_data()
    data.setup("fit")
    found: dict[int, list[float]] = {shots: [] for shots in SHOTS}
    for shots, accuracies in found.items():
        for seed in seeds:
            [episode] = EpisodeLoader(
                data.train_set,
                data.test_set,
                classes=NEW,
                episode=Episode(len(NEW), shots, QUERIES),
                episodes=1,
                stage="test",
                seed=seed,
            )
            support, queries = episode.inputs.flatten(1).float().tensor_split([len(NEW) * shots])
            outputs = logits(support.unflatten(0, (len(NEW), shots)), queries)
            accuracies.append((outputs.argmax(1) == episode.labels[len(support) :]).float().mean().item())
    return found


def table(values: Values) -> str:
    """A Markdown table of mean ± standard deviation, a row for each number of samples."""
    rows = [["samples per class", *values], ["---"] * (len(values) + 1)]
    rows += [[str(shots), *(_cell(of_method[shots]) for of_method in values.values())] for shots in SHOTS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(accuracies: list[float]) -> str:
    return f"{statistics.mean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f}"


def draw(values: Mapping[str, Mapping[int, list[float]]], path: Path) -> None:
    """Plot the mean over the seeds of each method, with a band of one standard deviation on each side."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    for method, of_method in values.items():
        means = [statistics.mean(of_method[shots]) for shots in SHOTS]
        spreads = [statistics.stdev(of_method[shots]) for shots in SHOTS]
        [line] = axes.plot(SHOTS, means, marker="o", markersize=4, label=method)
        bounds = [[mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1)]
        axes.fill_between(SHOTS, *bounds, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(SHOTS, [str(shots) for shots in SHOTS])
    axes.set_xlabel("training or support samples of each of the digits 6 to 9")
    axes.set_ylabel("accuracy on test images: mean ± standard deviation")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.few_shot", __doc__)
    text = "File of the figure (default: docs/few-shot.png)."
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "few-shot.png", metavar="FILE", help=text)
    return parser


def main() -> None:
    """Print the tables, and draw the figure."""
    args = build_parser().parse_args()
    one_draw = evaluated(eval_queries=QUERIES, eval_episodes=1)
    classifiers = trained()
    values = {one: classifiers[one] for one in TRAINED.values()} | {PROTOTYPICAL: one_draw, PIXELS: of_pixels()}
    print(table(values), table({"600 episodes": evaluated()}), sep="\n\n")
    draw(values, args.image)


if __name__ == "__main__":
    main()

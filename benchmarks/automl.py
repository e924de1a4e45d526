"""Compare ``sweep=auto`` with a search over scikit-learn's histogram gradient boosting, with the same time on one thread each.

Both train on the same samples, choose among their candidates by the loss on the same validation samples, and are tested once on
the same test samples; the seed draws validation and test samples. The boosting search starts with scikit-learn's defaults and
then draws at random; every candidate ends early by the validation loss. The contenders take turns. Needs scikit-learn, of the
extra ``bench``, which contains the data.

    # Two data sets, five seeds, a minute for each search: about 25 minutes
    python -m benchmarks.automl
    # Another data set, as JSON
    python -m benchmarks.automl --data wine --minutes 0.5 --json
"""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_json
from src.parsers import make_parser
from src.paths import ROOT
from src.records.find import find
from src.records.sweep import find_sweep
from src.views.leaderboard import make_leaderboard

# Name of a data set in scikit-learn, to whether it has classes.
DATA = {"breast_cancer": True, "digits": True, "wine": True, "diabetes": False}


def write_csv(name: str, folder: Path) -> Path:
    """Write a data set of scikit-learn as a CSV file with the column ``target``."""
    from sklearn import datasets

    bunch, path = getattr(datasets, f"load_{name}")(), folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(str(feature).replace(" ", "_") for feature in bunch.feature_names), "target"])
        rows.writerows([*x, y] for x, y in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True))
    return path


def _words(path: str) -> list[str]:
    kind = "classification" if DATA[Path(path).stem] else "regression"
    return ["data=csv", f"data.path={path}", "data.target=target", f"data.kind={kind}", f"task={kind}"]


def search_networks(path: str, seed: int, minutes: float) -> list[float]:
    """Run ``sweep=auto``; returns the test accuracy or RMSE of the best trial, the number of trials, and the seconds."""
    words = [
        *_words(path),
        f"seed={seed}",
        f"hydra.sweeper.minutes={minutes}",
        "trainer=cpu",
        "hydra.launcher.n_jobs=1",
    ]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "src.train", "-m", "sweep=auto", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    sweep = find_sweep("latest")
    metrics = find(make_leaderboard(sweep).rows[0].jobs[0]).values["metrics"]
    return [metrics["test/acc" if DATA[Path(path).stem] else "test/rmse"], len(sweep.records()), seconds]


def search_boosting(path: str, seed: int, minutes: float) -> list[float]:
    """Search scikit-learn's histogram gradient boosting; returns the same as ``search_networks``."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import log_loss, mean_squared_error

    from src.data.csv import CSV

    has_classes = DATA[Path(path).stem]
    data = CSV(path=path, target="target", kind="classification" if has_classes else "regression", seed=seed)
    x, y = (part.numpy() for part in data.load(train=True))
    test_x, test_y = (part.numpy() for part in data.load(train=False))
    train, val = (part.numpy() for part in data.split(data.load(train=True)[1]))
    y, test_y = (labels if has_classes else labels[:, 0] for labels in (y, test_y))
    kind = HistGradientBoostingClassifier if has_classes else HistGradientBoostingRegressor
    random, best, began, count = np.random.default_rng(seed), (math.inf, math.nan), time.perf_counter(), 0
    while time.perf_counter() - began < 60 * minutes:
        drawn = {
            "learning_rate": math.exp(random.uniform(math.log(0.01), math.log(0.5))),
            "max_leaf_nodes": int(random.integers(3, 64)),
            "min_samples_leaf": int(random.integers(2, 51)),
            "l2_regularization": math.exp(random.uniform(math.log(1e-6), math.log(10))),
            "max_features": random.uniform(0.3, 1.0),
            "max_iter": 1000,
        }
        model = kind(**(drawn if count else {}), early_stopping=True, random_state=seed)
        model.fit(x[train], y[train], X_val=x[val], y_val=y[val])
        if has_classes:
            loss = log_loss(y[val], model.predict_proba(x[val]), labels=model.classes_)
        else:
            loss = mean_squared_error(y[val], model.predict(x[val]))
        if loss < best[0]:
            predicted = model.predict(test_x)
            error = (predicted == test_y).mean() if has_classes else ((predicted - test_y) ** 2).mean() ** 0.5
            best = (loss, float(error))
        count += 1
    return [best[1], count, time.perf_counter() - began]


CONTENDERS = {"sweep=auto": search_networks, "boosting": search_boosting}


def measure(names: list[str], seeds: list[int], minutes: float) -> list[dict[str, Any]]:
    """Run all searches; returns for each data set and seed the results of both contenders."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OUTPUTS_DIR": f"{folder}/outputs", "OMP_NUM_THREADS": "1"}  # before numpy is imported
        for name in names:
            path = str(write_csv(name, Path(folder)))
            for seed in seeds:
                order = CONTENDERS if seed % 2 else reversed(CONTENDERS)
                results = {one: CONTENDERS[one](path, seed, minutes) for one in order}
                found.append({"data": name, "seed": seed, **results})
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.automl", __doc__)
    parser.add_argument(
        "--data",
        nargs="+",
        choices=DATA,
        default=["breast_cancer", "diabetes"],
        metavar="NAME",
        help=f"Data sets, among {', '.join(DATA)} (default: breast_cancer diabetes).",
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], metavar="N", help="Seeds (default: 1 2 3 4 5)."
    )
    parser.add_argument(
        "--minutes", type=float, default=1.0, metavar="M", help="Minutes of each search (default: %(default)s)."
    )
    add_json(parser, "all results")
    return parser


def main() -> None:
    """Run the searches, and print the means over the seeds."""
    args = build_parser().parse_args()
    found = measure(args.data, args.seeds, args.minutes)
    if args.json:
        print(json.dumps(found))
        return
    title = f"{len(args.seeds)} seeds, {args.minutes:g} min each; accuracy, or RMSE where lower is better; mean ± standard deviation"
    table = Table("data", *CONTENDERS, "difference ± standard error", "candidates", title=title, title_justify="left")
    for name in args.data:
        rows = [one for one in found if one["data"] == name]
        values = [[row[contender][0] for row in rows] for contender in CONTENDERS]
        differences = [a - b for a, b in zip(*values, strict=True)]
        counts = [f"{statistics.mean(row[contender][1] for row in rows):.0f}" for contender in CONTENDERS]
        table.add_row(
            name,
            *(f"{statistics.mean(one):.4g} ± {_spread(one):.2g}" for one in values),
            f"{statistics.mean(differences):+.4f} ± {_spread(differences) / math.sqrt(len(rows)):.4f}",
            " and ".join(counts),
        )
    Console().print(table)


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


if __name__ == "__main__":
    main()

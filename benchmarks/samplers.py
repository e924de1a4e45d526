"""Compare the samplers of a search for two objectives on the results of a finished grid, without training again.

A trial is a job of the grid that the sampler chooses, and its results are those of that job. The measure is the hypervolume of
the trials' Pareto front, the area that it dominates, divided by that of the whole grid's front. The reference point is the
worst value of each objective among the jobs on the grid's front, so that only trials in its range count.

    # The jobs of the latest sweep, a grid trained with callbacks=latency
    python -m benchmarks.samplers latest
    # Other objectives, after fewer and more trials
    python -m benchmarks.samplers SWEEP --objectives val/acc bytes --trials 10 40
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_json
from src.command import add_run_or_sweep, exit_with, status_of
from src.errors import ConfigError
from src.parsers import make_parser
from src.records.metrics import mode_of
from src.records.pareto import is_on_front
from src.records.replicates import value_of
from src.records.summary import differing
from src.records.sweep import find_several
from src.sweeps.study import quiet_optuna, sampler_of

SAMPLERS = ("random", "tpe", "nsga2")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.samplers", __doc__)
    add_run_or_sweep(parser, "The grid.", name="grid")
    parser.add_argument("--objectives", nargs=2, default=["val/acc", "flops"], help="Two metrics that its jobs logged.")
    parser.add_argument("--trials", nargs="+", type=int, default=[20, 40], metavar="N", help="Measure after N trials.")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="Repeat with N seeds (default: 20).")
    add_json(parser, "the values of each seed")
    return parser


def main() -> None:
    """Run the searches and print the table."""
    args = build_parser().parse_args()
    quiet_optuna()
    modes = [mode_of(metric) for metric in args.objectives]
    records = [record for record in find_several([args.grid]) if record.is_finished]
    settings = differing(records, lambda record: record.typed)
    costs = [
        tuple(
            -value if mode == "max" else value
            for metric, mode in zip(args.objectives, modes, strict=True)
            if (value := value_of(record, metric)) is not None
        )
        for record in records
    ]
    if None in modes or any(len(cost) < len(modes) for cost in costs) or not settings:
        raise ConfigError(
            f"--objectives {' '.join(args.objectives)}: name metrics of known mode that every job logged."
        )
    found: dict[str, list[list[float]]] = {}
    for sampler in SAMPLERS:
        for seed in range(args.seeds):
            found.setdefault(sampler, []).append(search(sampler, seed, settings, costs, args.trials))
    if args.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("sampler", *(f"{count} trials" for count in args.trials), box=None)
    for sampler, runs in found.items():
        columns = zip(*runs, strict=True)
        table.add_row(sampler, *(f"{statistics.mean(one):.3f} ± {statistics.stdev(one):.3f}" for one in columns))
    Console().print(table)


def search(
    sampler: str,
    seed: int,
    settings: Mapping[str, Sequence[str]],
    costs: Sequence[tuple[float, ...]],
    counts: Sequence[int],
) -> list[float]:
    """The share of the grid's hypervolume after each number of trials.

    Args:
        sampler: see ``hydra.sweeper.sampler``.
        seed: seed of the sampler.
        settings: name to the value in each job of the grid.
        costs: the objectives of each job, lower is better.
        counts: numbers of trials, in increasing order.
    """
    options: dict[str, Any] = {"sampler": sampler, "seed": seed, "startup_trials": 10}
    study = optuna.create_study(directions=["minimize", "minimize"])
    distributions = {name: CategoricalDistribution(sorted(set(words))) for name, words in settings.items()}
    jobs = {point: job for job, point in enumerate(zip(*settings.values(), strict=True))}
    for number in range(max(counts)):
        study.sampler = sampler_of(options, number)
        trial = study.ask(distributions)  # type: ignore[arg-type]
        study.tell(trial, costs[jobs[tuple(trial.params[name] for name in settings)]])
    front = front_of(costs)
    reference = tuple(max(values) for values in zip(*front, strict=True))
    found = [tuple(trial.values) for trial in study.trials]
    return [area(found[:count], reference) / area(costs, reference) for count in counts]


def front_of(costs: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """The points that no other dominates."""
    on_front = is_on_front(costs, ["min"] * len(costs[0]))
    return [cost for cost, front in zip(costs, on_front, strict=True) if front]


def area(costs: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """The hypervolume of two costs: the area that they dominate, up to the reference point."""
    total, ceiling = 0.0, reference[1]
    for x, y in sorted(set(front_of(costs))):
        if x < reference[0] and y < ceiling:
            total += (reference[0] - x) * (ceiling - y)
            ceiling = y
    return total


if __name__ == "__main__":
    exit_with(status_of(main))

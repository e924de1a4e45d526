"""What the tests of test_sweeps.py share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from src.config.command_line import CommandLine
from src.records.record import Record
from src.records.sweep import Sweep


def a_sweep(folder: Path, trials: int | None, objectives: dict[str, str] | None = None, **settings: Any) -> Sweep:
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"sampler": "tpe", "pruner": "none", "startup_trials": 2, "seed": 0, "storage": None}
    line = CommandLine(["--multirun"], [], True, None)
    return Sweep.start(
        folder,
        line.flags,
        line.overrides,
        jobs=None,
        trials=trials,
        mode="max",
        objectives=objectives,
        search={**usual, **settings},
        git=None,
    )


def answer(folder: Path, answers: Callable[[int], dict[str, Any]]) -> Callable[[Sequence[Sequence[str]], int], None]:
    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        for number, words in enumerate(jobs, first):
            directory = folder / f"{number:03d}"
            directory.mkdir(exist_ok=True)
            config = {"name": None, "tags": [], "seed": 0, "monitor": "val/acc"}
            record = Record.start(
                directory, sweep=folder.name, config=config, overrides=list(words), command="", git=None, environment={}
            )
            said = answers(number)
            best = {**record.values["best"], "value": said.pop("value", None)}
            record.update(**{"status": "done", "best": best, "duration_s": 1.0, **said})

    return launch


def a_grid(folder: Path, jobs: list[list[str]], values: Sequence[float | None]) -> Sweep:
    """A grid whose jobs have ended with these values; None failed."""
    folder.mkdir(parents=True)
    line = CommandLine(["--multirun"], [], True, None)
    sweep = Sweep.start(
        folder, line.flags, line.overrides, jobs=jobs, trials=len(jobs), mode="max", search=None, git=None
    )
    answer(folder, lambda n: {"value": values[n], "status": "failed" if values[n] is None else "done"})(jobs, 0)
    return sweep


GRID = [
    [f"optimizer.lr={lr}", f"model.dropout={p}", f"seed={s}"] for lr in (0.1, 0.01) for p in (0, 0.5) for s in range(4)
]


NOISE = (0.02, -0.01, -0.03, 0.01, -0.02, 0.03, 0.01, 0.0, 0.01, 0.02, -0.02, -0.03, 0.0, -0.01, 0.03, -0.01)

"""Commands that train further seeds of a recorded configuration."""

import shlex
from collections.abc import Sequence

from src.errors import ConfigError
from src.records.record import Record
from src.records.settings import REPLICATES, differing_names, flat_settings

# Consecutive seeds are written as a range from this number on.
_RANGE = 4


def commands_for(record: Record, seeds: Sequence[int], folds: Sequence[int] = ()) -> list[str]:
    """The commands that train a run's configuration with other seeds, and all of these folds.

    They are composed to check them: a comment line states an error, or settings that differ from the recorded ones.

    Returns:
        One command with ``-m``; if the configuration itself sweeps over settings, a command for each run.
    """
    # Of a setting that a resumed run has changed, the last value.
    last = {word.partition("=")[0].lstrip("+"): word for word in record.values["overrides"]}
    words = [word for key, word in last.items() if key not in REPLICATES]
    points = [f"seed={_sweep(seeds)}", *([f"data.fold={_sweep(folds)}"] if folds else [])]
    singles = [[f"seed={seed}", *fold] for seed in seeds for fold in ([[f"data.fold={n}"] for n in folds] or [[]])]
    problem, is_sweep = _check(record, words, singles[0])
    multirun = shlex.join(["python", "-m", "src.train", "-m", *words, *points])
    each = [shlex.join(["python", "-m", "src.train", *words, *single]) for single in singles]
    return [*([f"# {problem}"] if problem else []), *(each if is_sweep else [multirun])]


def _sweep(values: Sequence[int]) -> str:
    """Hydra's notation for a sweep over values."""
    low, high = values[0], values[-1] + 1
    if len(values) >= _RANGE and list(values) == list(range(low, high)):
        return f"range({low},{high})"
    return ",".join(map(str, values))


def _check(record: Record, words: Sequence[str], single: Sequence[str]) -> tuple[str | None, bool]:
    """Compose one of the runs.

    Returns:
        The problem, if there is one, and whether the configuration has a sweep of its own, so that ``-m`` would start that.
    """
    from src.config.command_line import parse
    from src.config.compose import make_plan

    try:
        [config] = make_plan(parse([*words, *single])).configs
    except ConfigError as error:
        return f"not valid any more: {str(error).splitlines()[0]}", False
    try:
        is_sweep = len(make_plan(parse(["-m", *words, *single])).jobs or []) != 1
    except ConfigError:  # a search in which every setting has a value
        is_sweep = True
    settings = [flat_settings(record.values["config"]), flat_settings(config)]
    names = [name for name in differing_names(settings) if name not in REPLICATES]
    changed = f"not the recorded configuration any more, which differs in {', '.join(names)}" if names else None
    return changed, is_sweep

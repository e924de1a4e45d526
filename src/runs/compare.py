"""``compare``: two configurations by a metric of their replicates."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from src.errors import ConfigError, RunNotFound, UserError, suggest
from src.records import find
from src.records.filters import Filter
from src.records.metrics import mode_of
from src.records.record import RECORD, STATUSES, Record
from src.records.replicates import (
    Aggregate,
    Replicates,
    aggregate,
    configuration_of,
    group,
    replicates_of,
    seed_and_fold,
    value_of,
)
from src.records.settings import REPLICATES, data_of, differing_names, own_settings, short_names
from src.records.summary import differing, summary
from src.records.sweep import SWEEP, find_sweep
from src.runs.further import commands_for
from src.runs.output import print_rows
from src.runs.reading import read_runs
from src.views.folded import mean_and_std
from src.views.table import Column, brief, print_table

if TYPE_CHECKING:
    from src.analysis.comparison import Estimate

# Number of runs of each configuration that are suggested where one has fewer than two.
_START = 3
# Maximum number of further seeds that are suggested.
_MOST = 1000
# Maximum number of settings, runs or commits that a line lists.
_FEW = 6
_PLAIN = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Side:
    """One of the two configurations.

    Attributes:
        word: the argument.
        runs: the runs that are compared, by seed and fold.
        values: the metric of each.
        left_out: ids of the others, each with the reason.
        top: the highest seed of all of them.
    """

    word: str
    runs: list[Record]
    values: list[float]
    left_out: list[tuple[str, str]]
    top: int

    @property
    def keys(self) -> list[tuple[Any, ...]]:
        """Seed and fold of each run."""
        return [seed_and_fold(record) for record in self.runs]

    @property
    def seeds(self) -> list[int]:
        """The seeds, sorted."""
        return sorted({seed for seed, _ in self.keys})

    @property
    def folds(self) -> list[int]:
        """The folds that have been trained, sorted; empty without cross-validation."""
        return sorted({fold for _, fold in self.keys if fold is not None})

    @property
    def fold_count(self) -> int | None:
        """Number of folds of the cross-validation, if more than one of them has been trained."""
        return self.runs[0].values["config"]["data"]["folds"] if len(self.folds) > 1 else None

    @property
    def aggregate(self) -> Aggregate:
        """Mean and spread."""
        found = aggregate(self.values)
        assert found is not None
        return found


@dataclass(frozen=True)
class Further:
    """Further seeds that decide a comparison.

    Attributes:
        seeds: their number for A and for B.
        commands: the commands that run them.
    """

    seeds: tuple[int, int]
    commands: list[str]


@dataclass(frozen=True)
class Comparison:
    """Result of the comparison of two configurations.

    Attributes:
        metric: name of the metric, as in tables.
        mode: min, max, or None if the direction of the metric is not known.
        sides: A and B.
        settings: settings in which they differ, with both values.
        estimate: the estimated difference, B minus A; None if one has fewer than two runs.
        confidence: confidence level of the interval.
        margin: the largest difference that does not matter, if set.
        method: description of the method.
        further: what decides the observed difference with a power of 80%; None if too many seeds do.
        notes: further facts about the result.
    """

    metric: str
    mode: str | None
    sides: tuple[Side, Side]
    settings: dict[str, list[str]]
    estimate: "Estimate | None"
    confidence: float
    margin: float | None
    method: str | None
    further: Further | None
    notes: list[str]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Confidence interval of the difference."""
        return self.estimate.interval(self.confidence) if self.estimate else None

    @property
    def difference(self) -> float:
        """Mean of B minus mean of A."""
        return self.sides[1].aggregate.mean - self.sides[0].aggregate.mean

    @property
    def verdict(self) -> str:
        """``A is better``, ``B is better``, ``equal within`` the margin, or ``undecided``."""
        if self.estimate is None or self.interval is None:
            return "undecided"
        if self.margin is not None and self.estimate.is_within(self.margin, self.confidence):
            return f"equal within {self.margin:g}"
        low, high = self.interval
        if low <= 0 <= high:
            return "undecided"
        if self.mode is None:
            return f"{'B' if low > 0 else 'A'} is higher"
        return f"{'B' if (low > 0) == (self.mode == 'max') else 'A'} is better"

    def as_plain(self) -> dict[str, Any]:
        """Convert to plain data, for JSON output."""
        sides = {
            letter: {
                "argument": side.word,
                **vars(side.aggregate),
                "runs": [record.values["id"] for record in side.runs],
                "seeds": side.seeds,
                "folds": side.folds,
                "values": side.values,
                "left_out": dict(side.left_out),
                "further_seeds": self.further and self.further.seeds[number],
            }
            for number, (letter, side) in enumerate(zip("AB", self.sides, strict=True))
        }
        names = ("difference", "interval", "confidence", "method", "margin", "verdict", "settings", "notes")
        rest = {name: getattr(self, name) for name in names}
        commands = self.further.commands if self.further else []
        return {"metric": self.metric, "mode": self.mode, **sides, **rest, "commands": commands}

    def as_row(self) -> dict[str, Any]:
        """Convert to one row, for CSV output."""
        low, high = self.interval or (None, None)
        row: dict[str, Any] = {"metric": self.metric}
        for number, (letter, side) in enumerate(zip("AB", self.sides, strict=True)):
            row |= {letter: side.word} | {f"{name}_{letter}": value for name, value in vars(side.aggregate).items()}
            row[f"further_seeds_{letter}"] = self.further and self.further.seeds[number]
        row |= {"difference": self.difference, "low": low, "high": high, "confidence": self.confidence}
        return row | {"method": self.method, "verdict": self.verdict}


def select(word: str, records: Sequence[Record]) -> Replicates:
    """The replicates that an argument stands for.

    A run (an id, a directory, latest, best) stands for all runs of its configuration; a name, a tag, a sweep and a filter stand
    for the runs that they select.

    Raises:
        RunNotFound: it selects no run.
        UserError: the selected runs have several configurations.
    """
    if not word or len(word) > 1000:
        raise RunNotFound("compare takes a run, a name, a tag, a sweep or a filter, of at most 1,000 characters.")
    if (Path(word) / RECORD).is_file():
        return replicates_of(find.find(word), records)
    if word in ("latest", "best") or any(record.values["id"] == word for record in records):
        return replicates_of(find.choose(word, records), records)
    found = [record for record in records if record.values["name"] == word]
    found = found or [record for record in records if word in record.values["tags"]]
    found = found or _jobs(word, records)
    if not found:
        try:
            return replicates_of(find.choose(word, records), records)
        except RunNotFound:
            if _PLAIN.fullmatch(word) and word not in STATUSES:
                raise
        found = Filter(word).choose(records)
    if not found:
        raise RunNotFound(f"{word}: no run matches this filter.")
    return _one_configuration(word, found)


def _jobs(word: str, records: Sequence[Record]) -> list[Record]:
    """The jobs of the sweep with this directory, id or unique prefix of its id."""
    if (Path(word) / SWEEP).is_file():
        word = find_sweep(word).values["id"]
    sweeps = {record.values["sweep"] for record in records} - {None}
    found = {word} & sweeps or {sweep for sweep in sweeps if sweep.startswith(word)}
    return [record for record in records if record.values["sweep"] in found] if len(found) == 1 else []


def _one_configuration(word: str, records: Sequence[Record]) -> Replicates:
    """The replicates among selected runs; configurations of which no run is done are left out.

    Raises:
        UserError: several configurations are left.
    """
    groups = group(records)
    done = [one for one in groups if one.used]
    if len(done) < 2:
        [chosen] = done or groups[-1:]
        others = [(record, summary(record).ended) for one in groups if one is not chosen for record in one.runs]
        return replace(chosen, left_out=[*chosen.left_out, *others])
    names = differing_names([own_settings(one.used[0]) for one in done])
    names = [name for name in names if name not in REPLICATES] or ["their data"]
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    raise UserError(
        f"{word} selects {len(done)} configurations, which differ in {', '.join(names[:_FEW])}{more}: select one by a filter, or "
        "by one of its runs, which stands for all runs of its configuration."
    )


def _metric(asked: str | None, ones: Sequence[Record], sides: Sequence[Replicates]) -> str:
    """The metric to compare: the one asked for, or the one that both monitor."""
    monitors = [record.values["best"]["metric"] for record in ones]
    if asked is None:
        if monitors[0] is None or monitors[0] != monitors[1]:
            raise ConfigError(
                f"A monitors {monitors[0] or 'no metric'}, B {monitors[1] or 'no metric'}: choose a metric by --metric."
            )
        return str(monitors[0])
    known = {name for side in sides for record in side.runs for name in summary(record).metrics}
    if asked not in known:
        hint = suggest(asked, known) or f": there are {', '.join(sorted(known)) or 'none'}."
        raise ConfigError(f"--metric {asked}: no run of A or B has it{hint}")
    return asked.removeprefix("best/")


def _side(letter: str, word: str, chosen: Replicates, metric: str) -> Side:
    """One side of the comparison.

    Raises:
        UserError: none of its runs is done, or none has the metric.
    """
    values = [(record, value_of(record, metric)) for record in chosen.used]
    having = [(record, value) for record, value in values if value is not None]
    left_out = [(str(record.values["id"]), reason) for record, reason in chosen.left_out]
    left_out += [(str(record.values["id"]), f"has no {metric}") for record, value in values if value is None]
    if not having:
        raise UserError(
            f"{letter}: no run of {word} can be compared: {_listed([f'{id} {why}' for id, why in left_out])}."
        )
    top = max((seed for record in chosen.runs if isinstance(seed := seed_and_fold(record)[0], int)), default=-1)
    return Side(word, [record for record, _ in having], [value for _, value in having], left_out, top)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    records = find_sweep(args.sweep).records() if args.sweep else read_runs()
    found = compare((args.a, args.b), records, args.metric, args.confidence, args.margin)
    print_rows(args.form, [found.as_row()], partial(print_comparison, found), plain=found.as_plain())


def compare(
    words: tuple[str, str],
    records: Sequence[Record],
    metric: str | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> Comparison:
    """Compare two configurations.

    The runs are paired if at least half of those of each configuration, and at least two, have the same seed and fold: the
    interval is Student's t of the differences of the pairs. Otherwise it is Welch's. With a margin, the configurations are equal
    if two one-sided t tests at level 1 - confidence both reject a difference beyond it.

    Args:
        words: what each configuration is selected by, see ``select``.
        records: all runs to select among, oldest first.
        metric: a metric; by default the one that both monitor.
        confidence: confidence level of the interval.
        margin: the largest difference that does not matter.

    Raises:
        UserError: an argument selects no run, or several configurations; or the two cannot be compared.
        ConfigError: the metric is not known.
    """
    chosen = [select(word, records) for word in words]
    ones = [(side.used or side.runs)[-1] for side in chosen]
    if (data := data_of(ones[0])) != data_of(ones[1]):
        raise UserError(
            f"A has the data {data}, B has {data_of(ones[1])}: metrics on different data cannot be compared."
        )
    if configuration_of(ones[0]) == configuration_of(ones[1]):
        raise UserError(f"{words[0]} and {words[1]} are the same configuration: they differ in seed and fold at most.")
    metric = _metric(metric, ones, chosen)
    a, b = (_side("AB"[number], words[number], chosen[number], metric) for number in range(2))
    pairs = sum(key in b.keys for key in a.keys)
    is_paired = pairs >= 2 and 2 * pairs >= max(len(a.runs), len(b.runs))
    sides = (_matched(a, b, "B"), _matched(b, a, "A")) if is_paired else (a, b)
    runs = [record for side in sides for record in side.runs]
    monitored = [record for record in runs if record.values["best"]["metric"] == metric]
    differ = differing([side.runs[-1] for side in sides])
    comparison = Comparison(
        metric=f"best/{metric}" if monitored else metric,
        mode=monitored[-1].values["config"]["mode"] if monitored else mode_of(metric),
        sides=sides,
        settings={name: values for name, values in differ.items() if name not in REPLICATES},
        estimate=None,
        confidence=confidence,
        margin=margin,
        method=None,
        further=Further((0, 0), []),
        notes=[*_notes_on_metric(metric, monitored, runs), *_notes_on_folds(sides), *_notes_on_code(runs)],
    )
    if min(len(side.runs) for side in sides) < 2:
        lacking = [max(0, _START - len(side.seeds)) for side in sides]
        return replace(comparison, further=_further((a, b), (lacking[0], lacking[1])))
    estimate, method = _estimator(sides, is_paired)
    comparison = replace(comparison, estimate=estimate(0), method=method)
    if comparison.verdict != "undecided":
        return comparison
    from src.analysis.comparison import seeds_needed

    count = seeds_needed(estimate, confidence, _MOST)
    if count is None:
        return replace(comparison, further=None)
    step, least = _runs_per_seed(sides), min(len(side.runs) for side in sides)
    lacking = [max(0, math.ceil((least - len(side.runs)) / step) + count) for side in sides]
    return replace(comparison, further=_further((a, b), (lacking[0], lacking[1])))


def _matched(side: Side, other: Side, letter: str) -> Side:
    """The runs of a side that have the seed and fold of a run of the other."""
    kept = [number for number, key in enumerate(side.keys) if key in other.keys]
    what = "seed and fold" if side.folds else "seed"
    rest = [
        (str(record.values["id"]), f"no run of {letter} has its {what}")
        for record, key in zip(side.runs, side.keys, strict=True)
        if key not in other.keys
    ]
    runs, values = [side.runs[number] for number in kept], [side.values[number] for number in kept]
    return replace(side, runs=runs, values=values, left_out=[*side.left_out, *rest])


def _runs_per_seed(sides: tuple[Side, Side]) -> int:
    return max(1, *(len(side.folds) for side in sides))


def _estimator(sides: tuple[Side, Side], is_paired: bool) -> tuple[Callable[[int], "Estimate"], str]:
    """Functions of the number of further seeds: the estimate, if means and spreads stay as they are; and its method."""
    from src.analysis.comparison import paired, welch

    a, b = sides
    step = _runs_per_seed(sides)
    corrected = ", variance corrected for folds" if a.fold_count or b.fold_count else ""
    if is_paired:
        differences = [after - before for before, after in zip(a.values, b.values, strict=True)]
        size = len(differences)
        what = f"{size} pairs with the same seed{' and fold' if a.folds else ''}"
        return lambda count: paired(differences, a.fold_count, size + count * step), f"paired t, {what}{corrected}"
    least = min(len(a.runs), len(b.runs))

    def estimate(count: int) -> "Estimate":
        sizes = max(len(a.runs), least + count * step), max(len(b.runs), least + count * step)
        return welch(a.values, b.values, (a.fold_count, b.fold_count), sizes)

    return estimate, f"Welch's t, as too few seeds match{corrected}"


def _notes_on_metric(metric: str, monitored: Sequence[Record], runs: Sequence[Record]) -> list[str]:
    """A note if checkpoints were selected by the metric, and there is a test metric as well."""
    test = {summary(record).test_metric for record in runs} - {None}
    if not monitored or len(test) != 1:
        return []
    return [f"checkpoints were selected by {metric}: --metric {test.pop()} compares them on the test data"]


def _notes_on_folds(sides: Sequence[Side]) -> list[str]:
    if not any(side.fold_count for side in sides):
        return []
    return ["folds share training data and are not independent: their variance is corrected (Nadeau and Bengio, 2003)"]


def _notes_on_code(runs: Sequence[Record]) -> list[str]:
    """A note if the code differs between runs."""
    codes = sorted({summary(record).code or "unknown code" for record in runs})
    short = [re.sub(r"^[0-9a-f]{12}[0-9a-f]+", lambda found: found[0][:12], code) for code in codes]
    return [f"the runs have different code: {_listed(short)}"] if len(codes) > 1 else []


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _FEW} more" if len(words) > _FEW else ""
    return ", ".join(words[:_FEW]) + more


def _further(full: tuple[Side, Side], counts: tuple[int, int]) -> Further:
    """The commands that run further seeds: first those that the other side has already, then new ones.

    Args:
        full: the sides, including runs without a match.
        counts: number of further seeds of each.
    """
    top, folds = max(side.top for side in full), sorted({*full[0].folds, *full[1].folds})
    commands: list[str] = []
    for side, other, count in zip(full, reversed(full), counts, strict=True):
        gaps = [] if folds else [seed for seed in other.seeds if seed not in side.seeds]
        seeds = [*gaps, *range(top + 1, top + 1 + count)][:count]
        if seeds and not side.runs[-1].is_imported:  # those have no command of this project
            commands += commands_for(side.runs[-1], seeds, side.folds)
    return Further(counts, commands)


def print_comparison(found: Comparison, console: Console) -> None:
    """Print both sides, the difference with its interval, the verdict, and what would decide it."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    direction = {"max": " (higher is better)", "min": " (lower is better)", None: ""}[found.mode]
    say(f"{found.metric}{direction}")
    names = dict(zip(found.settings, short_names(found.settings), strict=True))
    settings = [
        _listed([f"{names[name]}={brief(values[number])}" for name, values in found.settings.items() if values[number]])
        for number in range(2)
    ]
    columns = [
        Column("", ["A", "B"]),
        Column("n", [str(len(side.runs)) for side in found.sides]),
        Column("mean ± std", [mean_and_std(side.aggregate) for side in found.sides]),
        Column("settings", settings, least=16),
    ]
    print_table(console, [columns], aligned=True)
    level = f"{100 * found.confidence:g} % confidence interval"
    if found.interval is None:
        say(f"B - A: {found.difference:+.4g}")
    else:
        low, high = found.interval
        say(f"B - A: {found.difference:+.4g}, {level} {low:+.4g} to {high:+.4g} ({found.method})")
    say(f"{found.verdict}{_needs(found)}")
    for command in found.further.commands if found.further else ():
        say(f"  {command}")
    for letter, side in zip("AB", found.sides, strict=True):
        say(f"{letter}: {_listed([record.values['id'] for record in side.runs])}")
        if side.left_out:
            say(f"   left out: {_listed([f'{id} ({reason})' for id, reason in side.left_out])}")
    for note in found.notes:
        say(f"note: {note}")


def _needs(found: Comparison) -> str:
    """What would decide the comparison."""
    if found.verdict != "undecided":
        return ""
    if found.further is None:
        return f": the observed difference would not be decided within {_MOST:,} further seeds"
    counts = " and ".join(
        f"{count} of {letter}" for letter, count in zip("AB", found.further.seeds, strict=True) if count
    )
    if found.estimate is None:
        lacking = " and ".join(
            f"{letter} has {len(side.runs)}"
            for letter, side in zip("AB", found.sides, strict=True)
            if len(side.runs) < 2
        )
        return f": an interval takes at least two runs of each, and {lacking}; for {_START} of each, run {counts}:"
    return f": if the observed difference is real, {counts} more decide it with a power of 80 % (noncentral t):"

"""List, compare, tag, remove, export, report, reproduce and import runs; ``--help`` describes the subcommands."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from rich import filesize
from rich.console import Console

from src.command import exit_with, status_of
from src.errors import ConfigError, RunNotFound, UserError
from src.files import replacing
from src.paths import shown, user_path
from src.records import trash
from src.records.baseline import Baseline, find_baseline, pinned_id, removed_message
from src.records.find import all_runs, find, find_to_rebuild, read_all, read_latest, short_ids
from src.records.record import Record
from src.records.replicates import check_folded, group
from src.records.settings import data_of
from src.records.summary import find_best, plain_record
from src.records.sweep import Sweep, find_run_or_sweep, find_several, find_sweep, once
from src.runs import edit
from src.runs.arguments import build_parser as build_parser
from src.runs.baseline import describe_baseline, set_baseline
from src.runs.compare import compare as compare_configurations
from src.runs.compare import print_comparison
from src.runs.summary import summarize
from src.runs.watch import watch
from src.training.reproduce import Recipe, compare, describe
from src.views import findings, folded, listing, scalars, showing
from src.views.leaderboard import make_leaderboard
from src.views.report import make_report
from src.views.table import print_table

Rows = Sequence[Mapping[str, Any]]


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 for success, 1 for failed or not reproduced, 2 for a usage error."""
    args = build_parser().parse_args(argv)
    return status_of(lambda: _COMMANDS[args.command](args))


def _read() -> list[Record]:
    """All readable records; prints a message for each that cannot be read."""
    records, damaged = read_all()
    _warn(damaged)
    return records


def _warn(damaged: Sequence[str]) -> None:
    for sentence in damaged:
        print(f"warning: {sentence}", file=sys.stderr)


def _print(form: str | None, rows: Rows, say: Callable[[Console], None], plain: Any = None) -> None:
    """Print rows as CSV or JSON (``plain``, if given, instead of the rows), or call ``say`` to print to a terminal."""
    if form == "json":
        print(json.dumps(rows if plain is None else plain, indent=2))
    elif form == "csv":
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
    else:
        say(Console(highlight=False))


def _print_runs(
    form: str | None,
    records: Sequence[Record],
    asked: listing.Asked,
    every: Collection[str],
    baseline: Baseline | None = None,
) -> None:
    """Print the table of runs; ``every`` holds the ids of all runs."""
    rows = listing.as_rows(records, asked, baseline) if form == "csv" or (form and asked.columns is not None) else []
    plain = [plain_record(record) for record in records] if asked.columns is None else None
    if plain is not None and baseline:
        plain = [{**one, "vs_baseline": baseline.difference(run)} for one, run in zip(plain, records, strict=True)]
    _print(form, rows, lambda console: print_table(console, listing.table(records, asked, every, baseline)), plain)


def _find_baseline(runs: Sequence[Record] | None = None) -> Baseline | None:
    """The baseline, among ``runs`` if they are all that there are; prints a message if it has been removed."""
    if pinned_id() is None:
        return None
    runs = all_runs() if runs is None else runs
    if sentence := removed_message(runs):
        print(f"warning: {sentence}", file=sys.stderr)
    return find_baseline(runs)


def _say(text: str) -> Callable[[Console], None]:
    return lambda console: console.print(text, markup=False, soft_wrap=True)


def _ls(args: argparse.Namespace) -> None:
    filter = " ".join(args.filter) or None
    if args.sweep and not (filter or args.sort or args.reverse or args.columns or args.fold):
        _print_leaderboard(args.form, find_sweep(args.sweep))
        return
    asked = listing.asked_for(args.sort, filter, args.columns)
    if args.sweep or filter or args.sort or args.reverse or args.fold or pinned_id():
        runs = _read()
        jobs, baseline = find_sweep(args.sweep).records() if args.sweep else runs, _find_baseline(runs)
        every = [record.values["id"] for record in runs]
        matching = listing.choose(jobs, filter)
        if args.fold and matching:
            _print_groups(args, matching, every, baseline)
            return
        chosen = listing.order(matching, args.sort, reverse=args.reverse)
        count = len(chosen)
    else:
        latest = read_latest(args.n)
        _warn(latest.damaged)
        every, chosen, count = latest.ids, listing.order(latest.records, None), len(latest.ids)
        baseline = None
    if not chosen and not args.form:
        print("no run matches that." if every else "there is no run yet; python -m src.train makes one.")
        return
    _print_runs(args.form, chosen[: args.n], asked, every, baseline)
    if count > args.n and not args.form:
        print(f"and {count - args.n} more: -n {count} shows them", file=sys.stderr)


def _print_groups(
    args: argparse.Namespace, records: Sequence[Record], every: Collection[str], baseline: Baseline | None
) -> None:
    if args.columns:
        raise ConfigError("--columns does not go with --fold: leave one of them out.")
    check_folded(args.fold, records)
    groups = folded.order_groups(group(records, args.fold), args.sort)
    found = groups[::-1][: args.n] if args.reverse else groups[: args.n]
    rows = folded.as_rows(found, args.fold, baseline)
    ids = ([record.values["id"] for record in one.used] for one in found)
    plain = [{**row, "runs": used} for row, used in zip(rows, ids, strict=True)]
    _print(
        args.form, rows, lambda console: print_table(console, folded.table(found, args.fold, every, baseline)), plain
    )
    if len(groups) > args.n and not args.form:
        print(f"and {len(groups) - args.n} more: -n {len(groups)} shows them", file=sys.stderr)


def _compare(args: argparse.Namespace) -> None:
    records = find_sweep(args.sweep).records() if args.sweep else _read()
    found = compare_configurations((args.a, args.b), records, args.metric, args.confidence, args.margin)
    _print(args.form, [found.as_row()], partial(print_comparison, found), plain=found.as_plain())


def _baseline(args: argparse.Namespace) -> None:
    if args.run:
        set_baseline(args.run)
    text, plain = describe_baseline(all_runs())
    _print(args.form, [plain] if plain else [], _say(text))


def _print_leaderboard(form: str | None, sweep: Sweep) -> None:
    if not sweep.records():
        raise RunNotFound(f"{sweep.values['id']} has no jobs yet.")
    board = make_leaderboard(sweep, _find_baseline())
    rows = [dict(zip(board.headings, board.cells(row), strict=True)) for row in board.rows]

    def say(console: Console) -> None:
        print_table(console, board.as_table(), f"sweep {board.sweep}")
        if board.importance:
            console.print(f"importance for {board.metric}, {board.importance}", markup=False, soft_wrap=True)
        if board.winner:
            console.print(f"the best again:\n  {board.winner}", markup=False, soft_wrap=True)

    _print(form, rows, say, plain=board.as_plain())


def _summary(args: argparse.Namespace) -> None:
    found, damaged = summarize(args)
    _warn(damaged)
    rows = findings.as_rows(found)
    _print(args.form, rows, lambda console: findings.print_findings(found, console), plain=found)


def _show(args: argparse.Namespace) -> None:
    record = find_run_or_sweep(args.run)
    if isinstance(record, Sweep):
        _print_leaderboard(args.form, record)
        return
    if args.form == "json":
        print(json.dumps(showing.as_plain(record), indent=2))
    elif args.form:
        _print("csv", [{"name": name, "value": value} for name, value in showing.as_rows(record)], _say(""))
    else:
        showing.show(record, Console(highlight=False))


def _diff(args: argparse.Namespace) -> None:
    latest = read_latest(2)
    records = find_several(args.runs) if args.runs else latest.records
    if len(records) < 2 and args.runs:
        raise ConfigError(f"diff compares two runs or more, and {' '.join(args.runs)} is one.")
    if len(records) < 2:
        raise RunNotFound(f"diff compares two runs, and there are {len(records)}.")
    found = showing.differences(records)
    rows = showing.difference_rows(found)
    short = short_ids(found["runs"], latest.ids, [])
    _print(args.form, rows, lambda console: showing.print_differences(found, console, short), plain=found)


def _best(args: argparse.Namespace) -> None:
    filter, runs = " ".join(args.filter) or None, _read()
    chosen = listing.choose(runs, filter)
    record = find_best(chosen, args.metric, among=f" that matches {filter!r}" if filter else "")
    asked = listing.asked_for(args.metric, filter, None)
    _print_runs(args.form, [record], asked, [run.values["id"] for run in runs])
    if args.form:
        return
    print(f"  {record.values['command']}")
    others = {data_of(run) for run in chosen if run.is_finished} - {data_of(record)}
    if others:
        print(
            f"  the best on {data_of(record)}, the data of the latest finished run; runs on {', '.join(sorted(others))} are "
            'not compared with it: a filter, such as "data==mnist", chooses others'
        )


def _tag(args: argparse.Namespace) -> None:
    _print_edited(args.form, edit.tag(args))


def _note(args: argparse.Namespace) -> None:
    _print_edited(args.form, edit.note(args))


def _rename(args: argparse.Namespace) -> None:
    _print_edited(args.form, edit.rename(args))


def _print_edited(form: str | None, rows: Rows) -> None:
    _print(form, rows, _say("\n".join(map(edit.as_line, rows))))


def _rm(args: argparse.Namespace) -> int:
    records = once(find(word, only=True) for word in args.runs)  # all are found before the first is removed
    rows, status = [], 0
    for record in records:
        id = record.values["id"]
        try:
            archive = trash.put_aside(record)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
            continue
        rows.append({"id": id, "archive": str(archive)})
        if not args.form:
            print(f"{id} is in the trash; python -m src.runs restore {archive.stem} takes it out again")
    if args.form:
        _print(args.form, rows, _say(""))
    return status


def _restore(args: argparse.Namespace) -> None:
    place = trash.restore(args.run)
    _print(args.form, [{"directory": str(place)}], _say(f"{shown(place)} is back"))


def _gc(args: argparse.Namespace) -> int:
    records = _read()
    chosen = listing.choose(records, " ".join(args.filter)) if args.filter else []
    items, stay = trash.garbage(chosen, records)
    for sentence in stay:
        print(sentence, file=sys.stderr)
    kept = _free(items) if args.yes else []
    items = [item for item in items if item not in kept]
    rows = [{"what": item.what, "path": str(item.path), "bytes": item.size, "freed": args.yes} for item in items]

    def say(console: Console) -> None:
        for item in items:
            console.print(f"{filesize.decimal(item.size):>10}  {item.what}", markup=False, soft_wrap=True)
        total = filesize.decimal(sum(item.size for item in items))
        total += f" in {len(items)} {'entry' if len(items) == 1 else 'entries'}"
        if not items and not kept:
            console.print("there is nothing to free.")
        else:
            console.print(f"{total} freed" if args.yes else f"{total} would be freed for good: --yes does it")

    _print(args.form, rows, say)
    return int(bool(kept))


def _free(items: Sequence[trash.Item]) -> list[trash.Item]:
    """Delete items permanently; returns those that could not be deleted, after printing a message for each."""
    kept = []
    for item in items:
        try:
            trash.free(item)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            kept.append(item)
    return kept


def _export(args: argparse.Namespace) -> None:
    records = once(find_several(args.runs)) or _read()
    chosen = listing.choose(records, args.filter)
    export = scalars.export_json if args.form == "json" else scalars.export
    if args.file is None:
        export(chosen, sys.stdout)
        return
    try:
        with replacing(user_path(args.file)) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            count = export(chosen, text)
            text.detach()
    except OSError as error:
        raise UserError(f"{args.file} cannot be written ({error.strerror}).") from None
    print(f"{count:,} points of {len(chosen)} runs in {args.file}")


def _report(args: argparse.Namespace) -> None:
    found = find_run_or_sweep(args.runs[0]) if len(args.runs) == 1 and "," not in args.runs[0] else None
    sweep = found if isinstance(found, Sweep) else None
    records = once(find_several(args.runs))
    file = user_path(args.file) if args.file else (sweep or records[0]).directory / "report.html"
    html = make_report(records, sweep, _find_baseline())
    try:
        with replacing(file) as target:
            target.write(html.encode(errors="replace"))
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}): choose another file by -o.") from None
    _print(args.form, [{"file": str(file.resolve()), "runs": len(records)}], _say(f"{shown(file.resolve())}"))


def _reproduce(args: argparse.Namespace) -> int:
    recipe = Recipe(find_to_rebuild(args.run) if args.again else find(args.run))
    if not args.again:
        steps = {"id": recipe.id, "steps": recipe.steps(), "warnings": recipe.warnings()}
        flat = [{"id": recipe.id, "step": step} for step in recipe.steps()]
        _print(args.form, [steps] if args.form == "json" else flat, _say(describe(recipe)))
        return 0
    if not recipe.record.is_finished:
        raise UserError(f"{recipe.id} is not finished: there is nothing to compare with.")
    if not args.form:
        print(describe(recipe))
    again = recipe.run_again(sys.stderr.fileno() if args.form else None)
    compared = compare(recipe.record, again)
    equal = all(before == after for _, before, after in compared)
    rows = [{"metric": name, recipe.id: before, again.values["id"]: after} for name, before, after in compared]

    def say(console: Console) -> None:
        print(f"\n{'':<12}{recipe.id:>24}{again.values['id']:>24}")
        for name, before, after in compared:
            difference = "" if before == after else f"  {after - before:+.3g}" if before and after else "  differs"
            print(f"{name:<12}{_shown(before):>24}{_shown(after):>24}{difference}")
        print("equal, to the last digit" if equal else "not equal")

    _print(args.form, rows, say)
    return 0 if equal else 1


def _import(args: argparse.Namespace) -> int:
    from src.runs import importing  # loads tensorboard, which takes 0.3 s

    edit.check_tags(args.tag)
    rows, skipped = importing.import_runs(args)
    _print(args.form, rows, _say(importing.described(rows, skipped, dry=args.dry_run)))
    return int(bool(skipped))


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int | None]] = {
    "ls": _ls,
    "watch": watch,
    "summary": _summary,
    "show": _show,
    "diff": _diff,
    "best": _best,
    "compare": _compare,
    "baseline": _baseline,
    "tag": _tag,
    "note": _note,
    "rename": _rename,
    "rm": _rm,
    "restore": _restore,
    "gc": _gc,
    "export": _export,
    "report": _report,
    "reproduce": _reproduce,
    "import": _import,
}


if __name__ == "__main__":
    exit_with(main())

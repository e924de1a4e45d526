"""``reproduce``: the steps that reproduce a run, or a second training and a comparison of the metrics."""

import argparse
import sys

from rich.console import Console

from src.errors import UserError
from src.records.find import find, find_to_rebuild
from src.runs.output import print_rows, print_text
from src.training.reproduce import Recipe, compare, describe


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if a metric differs."""
    recipe = Recipe(find_to_rebuild(args.run) if args.again else find(args.run))
    if args.again:
        return _run_again(args, recipe)
    steps = {"id": recipe.id, "steps": recipe.steps(), "warnings": recipe.warnings()}
    flat = [{"id": recipe.id, "step": step} for step in recipe.steps()]
    print_text(args.form, [steps] if args.form == "json" else flat, describe(recipe))
    return 0


def _run_again(args: argparse.Namespace, recipe: Recipe) -> int:
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

    print_rows(args.form, rows, say)
    return 0 if equal else 1


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"

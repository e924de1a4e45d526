"""The runs that have been made.

    python -m src.runs ls --sweep SWEEP          a sweep's jobs, the best first; --json, --csv
    python -m src.runs reproduce RUN             how to make a run again
    python -m src.runs reproduce RUN --run       make it again, and compare

RUN is an id, a unique beginning of one, a name, a directory, latest or best; SWEEP an id, a directory or latest.
"""

import argparse
import os
import sys

from rich.console import Console

from src.errors import UserError
from src.sweeps.leaderboard import make_leaderboard
from src.sweeps.sweep import find_sweep
from src.tracking.find import find
from src.tracking.reproduce import Recipe, compare, describe


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 1 failed or not reproduced, 2 a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="python -m src.runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    ls = commands.add_parser("ls", help="a sweep's jobs, the best first")
    ls.add_argument("--sweep", metavar="SWEEP", required=True, help="an id, a beginning of one, a directory, or latest")
    form = ls.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="as_json")
    form.add_argument("--csv", action="store_const", dest="form", const="as_csv")
    ls.set_defaults(do=_ls)
    reproduce = commands.add_parser("reproduce", help="how to make a run again, or do it and compare")
    reproduce.add_argument("run_name", metavar="RUN")
    reproduce.add_argument("--run", action="store_true", help="do it, in a git worktree where the code differs")
    reproduce.set_defaults(do=_reproduce)
    args = parser.parse_args(argv)
    try:
        return int(args.do(args))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as head, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _ls(args: argparse.Namespace) -> int:
    board = make_leaderboard(find_sweep(args.sweep))
    if args.form:
        print(getattr(board, args.form)().rstrip("\r\n"))
        return 0
    console = Console(highlight=False)
    console.print(board.as_table(console.width))
    if board.importance:
        shares = "  ".join(f"{key} {share:.2f}" for key, share in board.importance.items())
        console.print(f"share in the spread of {board.metric}:  {shares}", markup=False, soft_wrap=True)
    if board.winner:
        console.print(f"the best again:\n  {board.winner}", markup=False, soft_wrap=True)
    return 0


def _reproduce(args: argparse.Namespace) -> int:
    recipe = Recipe(find(args.run_name))
    print(describe(recipe))
    if not args.run:
        return 0
    if recipe.record.values["status"] != "done":
        raise UserError(f"{recipe.id} is not finished: there is nothing to compare with.")
    again = recipe.run_again()
    rows = compare(recipe.record, again)
    print(f"\n{'':<12}{recipe.id:>24}{again.values['id']:>24}")
    for name, before, after in rows:
        difference = "" if before == after else f"  {after - before:+.3g}" if before and after else "  differs"
        print(f"{name:<12}{_shown(before):>24}{_shown(after):>24}{difference}")
    equal = all(before == after for _, before, after in rows)
    print("equal, to the last digit" if equal else "not equal")
    return 0 if equal else 1


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


if __name__ == "__main__":
    sys.exit(main())

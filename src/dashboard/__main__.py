"""Show runs in TensorBoard, under readable names.

TensorBoard listens on this machine only and runs until it is stopped. New runs appear by themselves; none is changed.

    # All runs
    python -m src.dashboard
    # The runs that match a filter
    python -m src.dashboard "optimizer=='adam' and done"
    # The jobs of the latest sweep
    python -m src.dashboard --sweep latest
    # Curves over the number of samples, comparable across batch sizes
    python -m src.dashboard --x samples
    # One row of HParams for each run, and no means over seeds and folds
    python -m src.dashboard --no-mean-over-seeds
"""

import argparse
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.command import add_filter, add_sweep, exit_with, status_of
from src.errors import Interrupted, UserError
from src.launching.stop import raise_on_stop
from src.parsers import make_parser
from src.terminal import survive_closed_output

if TYPE_CHECKING:
    from src.dashboard.view import View

_HOST = "127.0.0.1"
_REFRESH_S = 5.0


def main(argv: list[str] | None = None) -> int:
    """Serve until stopped by a signal; the exit status is 130 after Ctrl-C, 143 after SIGTERM, 2 for invalid arguments."""
    survive_closed_output()
    args = build_parser().parse_args(argv)
    raise_on_stop()
    try:
        return status_of(lambda: _serve(args))
    except Interrupted as stop:
        print()
        return stop.exit_status


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.dashboard", __doc__)
    add_filter(parser)
    add_sweep(parser)
    text = "Unit of the horizontal axis of curves: optimizer steps or training samples, which omits runs of unknown batch size (default: steps)."
    parser.add_argument("--x", choices=("steps", "samples"), default="steps", help=text)
    text = "Show the seeds and folds of a configuration in one row of HParams, and their mean as a run (default)."
    parser.add_argument("--mean-over-seeds", action=argparse.BooleanOptionalAction, default=True, help=text)
    text = "Listen on this port (default: the first free one from 6006)."
    parser.add_argument("--port", type=_port, metavar="PORT", help=text)
    parser.add_argument("--no-browser", action="store_true", help="Do not open a browser.")
    text = "Use TensorBoard's Python loader instead of the fast one."
    parser.add_argument("--slow-loader", action="store_true", help=text)
    return parser


def _port(word: str) -> int:
    if not word.isdigit() or not 0 < int(word) < 65536:
        raise argparse.ArgumentTypeError(f"{word!r} is not a port: they go from 1 to 65535")
    return int(word)


def _serve(args: argparse.Namespace) -> None:
    from src.dashboard.view import View
    from src.records.find import all_runs, read_all
    from src.records.record import Record
    from src.records.sweep import find_sweep
    from src.views.listing import choose

    sweep = find_sweep(args.sweep) if args.sweep else None

    def chosen() -> Sequence[Record]:
        return choose(sweep.records() if sweep else all_runs(), args.filter)

    if sweep is None:
        for problem in read_all()[1]:
            print(problem, file=sys.stderr)
    samples_axis = args.x == "samples"
    with View(chosen, samples_axis=samples_axis, mean_over_seeds=args.mean_over_seeds) as view:
        if not len(view):
            raise UserError(_why_empty(args, any_chosen=bool(chosen())))
        address = _start(view, args.port, fast=not args.slow_loader)
        print(f"{len(view)} run{'' if len(view) == 1 else 's'} at {address} (Ctrl-C ends it)", flush=True)
        if not args.no_browser and _has_browser():
            webbrowser.open(address)
        while True:
            view.update_means()
            threading.Event().wait(_REFRESH_S)
            view.refresh()


def _why_empty(args: argparse.Namespace, *, any_chosen: bool) -> str:
    if any_chosen:
        return "--x samples: of none of the runs the batch size is known: leave it out for curves by optimizer step."
    if args.filter or args.sweep:
        return "no run matches that."
    return "there is no run yet; python -m src.train makes one."


def _start(view: "View", port: int | None, fast: bool) -> str:
    """Start TensorBoard in a thread of this process; returns its address.

    Raises:
        UserError: the port is in use, or none is free.
    """
    from tensorboard import program

    from src.dashboard.plugins import make_plugins
    from src.dashboard.server import make_server

    board = program.TensorBoard(make_plugins(lambda: view.columns, lambda: view.charts), server_class=make_server)
    words = ["--logdir", str(view.directory), "--host", _HOST, "--reload_interval", str(int(_REFRESH_S))]
    words += ["--reload_multifile", "true", "--load_fast", "auto" if fast else "false"]
    words += ["--samples_per_plugin", "images=100,scalars=10000"]
    board.configure(argv=["", *words, *([] if port is None else ["--port", str(port)])])
    try:
        return board.launch()
    except program.TensorBoardServerException as error:
        raise UserError(f"{error.msg.strip()}: choose another by --port, or leave it out.") from None


def _has_browser() -> bool:
    """Whether a graphical browser is available, rather than one in the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


if __name__ == "__main__":
    exit_with(main())

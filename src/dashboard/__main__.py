"""TensorBoard over the runs.

    python -m src.dashboard                                all of them, under names that can be read
    python -m src.dashboard "optimizer=='adam' and done"   those that a filter chooses, as in python -m src.runs ls
    python -m src.dashboard --sweep latest                 the jobs of a sweep
    python -m src.dashboard --x samples                    curves over the samples seen, comparable between batch sizes
    python -m src.dashboard --mean-over-seeds              a row of HParams for each configuration

It is served to this machine alone, on the next free port from 6006, until it is stopped. New runs appear by themselves;
none is changed.
"""

import argparse
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from src.command import exit_with, status_of
from src.errors import Interrupted, UserError
from src.launching.stop import raise_on_stop
from src.terminal import survive_closed_output

_HOST = "127.0.0.1"
_REFRESH_S = 5.0


def main(argv: list[str] | None = None) -> int:
    """Serve until stopped by a signal; the exit status is 130 after Ctrl-C, 143 after SIGTERM, 2 for invalid arguments."""
    survive_closed_output()
    args = _parser().parse_args(argv)
    raise_on_stop()
    try:
        return status_of(lambda: _serve(args))
    except Interrupted as stop:
        print()
        return stop.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m src.dashboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("filter", nargs="*", metavar="FILTER")
    parser.add_argument("--sweep", metavar="SWEEP", help="an id, a directory or latest")
    parser.add_argument("--x", choices=("steps", "samples"), default="steps", help="what curves are drawn over (steps)")
    parser.add_argument(
        "--mean-over-seeds",
        action="store_true",
        help="one row of HParams for the seeds and folds of each configuration",
    )
    parser.add_argument("--port", type=_port, metavar="PORT", help="this one; without, the next free one from 6006")
    parser.add_argument("--no-browser", action="store_true", help="open none")
    parser.add_argument("--slow-loader", action="store_true", help="TensorBoard's own loader in place of its fast one")
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

    text = " ".join(args.filter) or None
    sweep = find_sweep(args.sweep) if args.sweep else None

    def chosen() -> Sequence[Record]:
        return choose(sweep.records() if sweep else all_runs(), text)

    if sweep is None:
        for problem in read_all()[1]:
            print(problem, file=sys.stderr)
    with View(chosen, samples_axis=args.x == "samples", mean_over_seeds=args.mean_over_seeds) as view:
        if not len(view):
            raise UserError(
                "no run matches that." if text or sweep else "there is no run yet; python -m src.train makes one."
            )
        address = _start(view.directory, args.port, fast=not args.slow_loader)
        print(f"{len(view)} run{'' if len(view) == 1 else 's'} at {address} (Ctrl-C ends it)", flush=True)
        if not args.no_browser and _has_browser():
            webbrowser.open(address)
        while True:
            threading.Event().wait(_REFRESH_S)
            view.refresh()


def _start(directory: Path, port: int | None, fast: bool) -> str:
    """Start TensorBoard in a thread of this process; returns its address.

    Raises:
        UserError: the port is in use, or none is free.
    """
    from tensorboard import default, program

    board = program.TensorBoard(plugins=default.get_plugins())
    words = ["--logdir", str(directory), "--host", _HOST, "--reload_interval", str(int(_REFRESH_S))]
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

"""The command line of ``python -m src.runs``: its subcommands, their arguments, descriptions and examples."""

import argparse
import contextlib
import math
import textwrap

from src.command import (
    add_archived_run,
    add_filter,
    add_filter_option,
    add_format,
    add_name,
    add_run,
    add_run_or_sweep,
    add_sweep,
)
from src.parsers import add_command, make_parser
from src.records.filters import FIELDS

_DOC = """List, watch, compare, tag, remove, export, report, reproduce and import runs.

Every subcommand but watch prints its result as JSON with ``--json`` and as CSV with ``--csv``, and all describe their
arguments with ``--help``.

    # The latest runs, and the settings in which they differ
    python -m src.runs ls
    # The metrics, settings, files and curves of the latest finished run
    python -m src.runs show latest
    # What differs between the two latest runs
    python -m src.runs diff
    # The fields, operators and durations of filters
    python -m src.runs ls --help
"""

_LS = """List the latest runs, or the jobs of a sweep.

The table has one line per run, with its metrics and the settings in which the runs differ; in a pipe, columns are separated
by tabs. With ``--sweep`` alone it is a leaderboard: the jobs of a sweep, the best first, and the importance of each setting.

    # The latest 20 runs
    python -m src.runs ls
    # Finished runs with a small learning rate, the most accurate first
    python -m src.runs ls "optimizer.lr<0.01 and done" --sort best/val/acc
    # Runs of the last two days that failed or were interrupted
    python -m src.runs ls "age<2d and status in [failed, interrupted]"
    # Runs with a tag, of any of three optimizers
    python -m src.runs ls "'baseline' in tags and optimizer in [sgd, adam, adamw]"
    # Only the id and these columns
    python -m src.runs ls --columns status,val/loss,optimizer.lr
    # The leaderboard of the latest sweep
    python -m src.runs ls --sweep latest
    # A row for each configuration, with mean and spread over its seeds
    python -m src.runs ls --fold seed
"""

_WATCH = """Watch running and recent runs, or the jobs of a sweep, live in the terminal.

The keys are shown in the last line: up and down select a run, enter inspects it, s sorts, f filters, q quits. Files are only
read, so any number of views can be open, also on another machine.

    # All runs
    python -m src.runs watch
    # The jobs of a sweep
    python -m src.runs watch s20261124-0009
    # A run in detail: metrics, curves, the end of its log
    python -m src.runs watch a81a
"""

_SUMMARY = """Summarize what runs have shown, for scripts and agents.

The summary contains the number of runs by status; for each data set and monitored metric the best run, the values of each
setting that were tried, and whether the latest runs improved the best value; errors, with the runs that failed with them; and
the progress of running runs.

    # All runs
    python -m src.runs summary
    # Runs of the last day, as JSON
    python -m src.runs summary "age<1d" --json
    # The latest sweep; a plateau is 20 runs without improvement
    python -m src.runs summary --sweep latest -k 20
"""

_SHOW = """Show the settings, metrics, environment, files and curves of a run, or the leaderboard of a sweep.

    # The latest finished run
    python -m src.runs show latest
    # The whole record, as JSON
    python -m src.runs show best --json
"""

_DIFF = """Show what differs between runs: settings, metrics, environment and code, of two runs line by line.

    # The latest run and the one before
    python -m src.runs diff
    # The latest finished run and the best one, as JSON
    python -m src.runs diff latest best --json
    # All jobs of a sweep, and a run
    python -m src.runs diff s20261123-214000-ab12 best
"""

_BEST = """Show the best finished run, among those on the data set of the latest one.

A filter selects among other runs, for example those on another data set.

    # By the metric that the latest finished run monitors
    python -m src.runs best
    # The best run trained with SGD, by its test accuracy
    python -m src.runs best "optimizer==sgd" --metric test/acc
"""

_COMPARE = """Compare two configurations by a metric of their runs with several seeds and folds.

It prints n, mean and standard deviation of each, the difference with a confidence interval, a verdict, and if that is
undecided the number of further seeds that would decide it, with the commands that train them. A and B are a run (an id, a
directory, latest or best), which stands for all runs of its configuration; or a name, a tag, a sweep or a filter, which
stands for the runs that it selects.

    # The configurations of the best run and of the latest
    python -m src.runs compare best latest
    # Two optimizers of the latest sweep
    python -m src.runs compare "optimizer==sgd" "optimizer==adam" --sweep latest
    # Two names, on the test set
    python -m src.runs compare wide narrow --metric test/acc
    # Whether they are equal within 0.2 percentage points
    python -m src.runs compare wide narrow --margin 0.002
"""

_BASELINE = """Pin the baseline, the run with which others are compared, or show it.

``ls``, leaderboards, reports and the summary of a training show the difference of the metric that the baseline monitors, to
the mean over the seeds and folds of its configuration, for runs on the same data set. The baseline is never removed by
``rm`` or ``gc``.

    # Show the baseline
    python -m src.runs baseline
    # Pin the best run
    python -m src.runs baseline best
    # Unpin it
    python -m src.runs baseline none
"""

_TAG = """Add tags to runs, or remove them; also while they train.

A run with the tag ``pinned`` is never removed by ``rm`` or ``gc``.

    # Add two tags
    python -m src.runs tag latest baseline pinned
    # Tag several runs, each selected by a part of its id
    python -m src.runs tag a81a,c147 baseline
    # Remove a tag
    python -m src.runs tag latest pinned --remove
"""

_NOTE = """Write a note about runs, which replaces earlier ones.

    # Write a note
    python -m src.runs note latest "the learning rate was too high"
    # Remove the note
    python -m src.runs note latest ""
"""

_RENAME = """Change the name of a run. Its id and its directory stay.

    # Give the latest finished run a name
    python -m src.runs rename latest wide-network
    # Remove its name
    python -m src.runs rename wide-network ""
"""

_RM = """Move runs to the trash, from which ``restore`` takes them out again.

A name or an id that several runs share is refused, as are running and pinned runs. ``gc`` frees the disk space of the trash.

    # Two runs, each by a unique part of its id
    python -m src.runs rm a81a c147
    # A run by its name
    python -m src.runs rm baseline
"""

_RESTORE = """Move a run from the trash back to its directory.

    # By its id
    python -m src.runs restore r20261123-214000-ab12
    # By its name; print the directory as JSON
    python -m src.runs restore baseline --json
"""

_GC = """List what can be deleted to free disk space, and delete it with ``--yes``.

That is the content of the trash, what interrupted removals left, and the runs that match the filter. Pinned and running runs
and the best run of each sweep are kept.

    # List what is in the trash
    python -m src.runs gc
    # Delete it
    python -m src.runs gc --yes
    # Delete also the runs that failed more than a week ago
    python -m src.runs gc "failed and age>7d" --yes
"""

_EXPORT = """Export every point of every curve in long format, as CSV or JSON.

With ``--fold``, mean and spread of the curves of each configuration, with the id of its latest run.

    # The curves of the latest finished run, to a file
    python -m src.runs export latest -o curves.csv
    # Those of all finished runs, as JSON
    python -m src.runs export --filter done --json -o curves.json
    # Mean, standard deviation, minimum and maximum over the seeds of a sweep
    python -m src.runs export SWEEP --fold seed -o means.csv
"""

_REPORT = """Write a report of runs or a sweep to a single HTML file.

It contains a sortable table, parallel coordinates, curves with mean and
standard deviation over replicates, and each run in detail: settings and, for
classification, confusion matrix, calibration and worst mistakes. It opens in
a browser without a network.

    # report.html in the run's directory
    python -m src.runs report latest
    # A sweep, with its leaderboard: report.html in its directory
    python -m src.runs report SWEEP
    # Several runs, to another file
    python -m src.runs report latest best -o comparison.html
"""

_REPRODUCE = """Print the steps that reproduce a run, or run them and compare the metrics.

The exit status of ``--run`` is 0 if all metrics are equal to the last digit, and 1 otherwise.

    # Print the steps
    python -m src.runs reproduce latest
    # Train again, in a git worktree if the code has changed, and compare
    python -m src.runs reproduce latest --run
"""

_SEVERAL = "A sweep stands for its jobs; several are separated by commas."


_IMPORT = """Import runs of MLflow and TensorBoard as records.

Sources are MLflow file stores (mlruns), SQLite databases of MLflow, and directories with event files, at any depth below a
path; they are only read. Importing again adds runs that are new, and updates those that have changed. Imported runs have
settings, metrics and curves, but no checkpoint; the filter ``imported`` selects them.

    # List the runs of a file store and of a database
    python -m src.runs import mlruns mlflow.db --dry-run
    # The runs of Lightning's TensorBoardLogger, with a monitor and a tag
    python -m src.runs import lightning_logs --monitor val_loss --tag old
"""


def _filters() -> str:
    """The explanation of filters for --help."""
    text = """
        A filter compares settings, metrics and fields with values by <, <=, >, >=, ==, != and in, and combines comparisons
        with and, or, not and parentheses. A status alone (done, pruned, failed, interrupted, running) is a filter, too.

        Settings have their names on the command line: optimizer.lr, seed; a group alone is its choice: optimizer==adam. A
        metric such as val/acc is the value of the last epoch, best/val/acc that of the best checkpoint, for the monitored
        metric. Numbers are written 0.01 or 1e-2, text with or without quotes, lists as [1, 2], durations as 90s, 30m, 2h, 7d
        or 2w. A comparison with a value that a run does not have is false.
    """
    paragraphs = [textwrap.fill(" ".join(paragraph.split()), 76) for paragraph in textwrap.dedent(text).split("\n\n")]
    fields = "\n".join(f"{name:<10}{description}" for name, description in FIELDS.items())
    return "\n\n".join([*paragraphs, f"Fields:\n{textwrap.indent(fields, '  ')}"])


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line; ``command`` is the name of the subcommand."""
    parser = make_parser("src.runs", _DOC)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    ls = add_command(commands, "ls", _LS)
    add_filter(ls)
    add_sweep(ls)
    text = "Sort by a metric, the best value first, or by a setting or a field, the lowest value first (default: latest first)."
    add_name(ls, "--sort", text)
    ls.add_argument("--reverse", action="store_true", help="Reverse the order.")
    text = "Metrics, settings and fields to show instead of the usual columns, separated by commas."
    ls.add_argument("--columns", metavar="NAME,...", help=text)
    text = "List at most this many runs, 1 to 1,000,000 (default: 20)."
    ls.add_argument("-n", "--limit", dest="n", type=_count, default=20, metavar="COUNT", help=text)
    text = "Show one row for all runs that differ only in these settings or groups, such as seed or seed,data.fold."
    ls.add_argument("--fold", type=_names, metavar="NAME,...", help=text)
    ls.add_argument_group("filters", _filters())

    watch = add_command(commands, "watch", _WATCH)
    add_run_or_sweep(watch, "Run or sweep (default: all runs).", nargs="?")
    text = "Show at most this many runs, running ones first, 1 to 1,000,000 (default: 200)."
    watch.add_argument("-n", "--limit", dest="n", type=_count, default=200, metavar="COUNT", help=text)

    summary = add_command(commands, "summary", _SUMMARY)
    add_filter(summary)
    add_sweep(summary)
    text = "Number of finished runs without improvement that count as a plateau, 1 to 1,000,000 (default: 10)."
    summary.add_argument("-k", "--plateau", dest="k", type=_count, default=10, metavar="COUNT", help=text)

    add_run_or_sweep(add_command(commands, "show", _SHOW), "Run or sweep.")

    diff = add_command(commands, "diff", _DIFF)
    text = f"Runs to compare, at least two (default: the latest and the one before). {_SEVERAL}"
    add_run_or_sweep(diff, text, name="runs", nargs="*")

    best = add_command(commands, "best", _BEST)
    add_filter(best, "runs on the data set of the latest finished run")
    text = "Metric to compare, by its best value (default: the metric that the latest finished run monitors)."
    add_name(best, "--metric", text)

    comparison = add_command(commands, "compare", _COMPARE)
    comparison.add_argument("a", metavar="A", help="Run, name, tag, sweep or filter.")
    comparison.add_argument("b", metavar="B", help="Run, name, tag, sweep or filter.")
    add_sweep(comparison)
    add_name(comparison, "--metric", "Metric to compare (default: the metric that both monitor).")
    text = "Confidence level of the interval, from 0.5 to less than 1 (default: 0.95)."
    comparison.add_argument("--confidence", type=_confidence, default=0.95, metavar="LEVEL", help=text)
    text = "Largest difference that does not matter (default: no test of equivalence)."
    comparison.add_argument("--margin", type=_margin, metavar="VALUE", help=text)

    baseline = add_command(commands, "baseline", _BASELINE)
    text = "Run to pin, or sweep, for its best configuration; none unpins (default: show the baseline)."
    add_run_or_sweep(baseline, text, nargs="?")

    tag = add_command(commands, "tag", _TAG)
    add_run_or_sweep(tag, f"Runs to tag. {_SEVERAL}")
    text = "Tag: letters, digits, '.', '_' and '-', at most 64 characters."
    tag.add_argument("words", nargs="+", metavar="TAG", help=text)
    tag.add_argument("--remove", action="store_true", help="Remove the tags instead of adding them.")

    note = add_command(commands, "note", _NOTE)
    add_run_or_sweep(note, f"Runs to write about. {_SEVERAL}")
    text = "Text of the note, at most 10,000 characters; an empty one removes the note."
    note.add_argument("text", nargs="+", metavar="TEXT", help=text)

    rename = add_command(commands, "rename", _RENAME)
    add_run(rename)
    text = "Name: letters, digits, '.', '_' and '-', at most 64 characters; an empty one removes the name."
    rename.add_argument("name", metavar="NAME", help=text)

    add_run(add_command(commands, "rm", _RM), name="runs", nargs="+")
    add_archived_run(add_command(commands, "restore", _RESTORE))

    gc = add_command(commands, "gc", _GC)
    add_filter(gc, "no runs, only the trash")
    gc.add_argument("--yes", action="store_true", help="Delete permanently, instead of listing what would be deleted.")

    export = add_command(commands, "export", _EXPORT)
    add_run_or_sweep(export, f"Runs to export (default: all). {_SEVERAL}", name="runs", nargs="*")
    add_filter_option(export)
    text = (
        "Export mean and spread of the curves of runs that differ only in these settings or groups, such as seed or "
        "seed,data.fold; only finished runs count."
    )
    export.add_argument("--fold", type=_names, metavar="NAME,...", help=text)
    text = "Write to this file (default: standard output)."
    export.add_argument("-o", "--output", dest="file", metavar="FILE", help=text)

    report = add_command(commands, "report", _REPORT)
    add_run_or_sweep(report, "Runs, or one sweep.", name="runs", nargs="+")
    text = "Write the report to this file (default: report.html in the directory of the first run or of the sweep)."
    report.add_argument("-o", "--output", dest="file", metavar="FILE", help=text)

    reproduce = add_command(commands, "reproduce", _REPRODUCE)
    add_run(reproduce)
    text = "Train the run again and compare the metrics."
    reproduce.add_argument("--run", action="store_true", dest="again", help=text)

    imports = add_command(commands, "import", _IMPORT)
    imports.add_argument("paths", nargs="+", metavar="PATH", help="Directories, or SQLite databases of MLflow.")
    imports.add_argument("--dry-run", action="store_true", help="List the runs, without importing them.")
    text = "Add this tag to the runs; may be repeated."
    imports.add_argument("--tag", action="append", default=[], metavar="TAG", help=text)
    add_name(
        imports, "--monitor", "Metric of the best value (default: the evident one, such as the only validation loss)."
    )
    text = "Whether its lowest or its highest value is the best (default: implied by its name)."
    imports.add_argument("--mode", choices=("min", "max"), help=text)

    for name, command in commands.choices.items():
        if name != "watch":
            add_format(command)
    return parser


def _count(word: str) -> int:
    if not word.isdigit() or not 0 < int(word) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 1 to 1,000,000")
    return int(word)


def _confidence(word: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.5 <= float(word) < 1:
            return float(word)
    raise argparse.ArgumentTypeError(f"{word!r} is not a number from 0.5 to less than 1, such as 0.95")


def _margin(word: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(word) < math.inf:
            return float(word)
    raise argparse.ArgumentTypeError(f"{word!r} is not a positive number")


def _names(word: str) -> list[str]:
    return [name for name in word.split(",") if name]

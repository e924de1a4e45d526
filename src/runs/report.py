"""``report``: runs or a sweep in a single HTML file."""

import argparse

from src.errors import UserError
from src.files import replacing
from src.paths import shown, user_path
from src.records.sweep import Sweep, find_run_or_sweep, find_several, once
from src.runs.output import print_text
from src.runs.reading import read_baseline
from src.views.report import make_report


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    found = find_run_or_sweep(args.runs[0]) if len(args.runs) == 1 and "," not in args.runs[0] else None
    sweep = found if isinstance(found, Sweep) else None
    records = once(find_several(args.runs))
    file = user_path(args.file) if args.file else (sweep or records[0]).directory / "report.html"
    html = make_report(records, sweep, read_baseline())
    try:
        with replacing(file) as target:
            target.write(html.encode(errors="replace"))
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}): choose another file by -o.") from None
    print_text(args.form, [{"file": str(file.resolve()), "runs": len(records)}], str(shown(file.resolve())))

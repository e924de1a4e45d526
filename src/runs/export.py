"""``export``: every point of every curve, or mean and spread over replicates, as CSV or JSON."""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from src.errors import UserError
from src.files import replacing
from src.paths import user_path
from src.records.replicates import check_folded, group
from src.records.sweep import find_several, once
from src.runs.reading import read_runs
from src.views import bands, listing, scalars


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    records = once(find_several(args.runs)) or read_runs()
    chosen = listing.choose(records, args.filter)
    if args.fold:
        check_folded(args.fold, chosen)
        points: Iterator[Sequence[Any]] = bands.mean_points(group(chosen, args.fold))
        fields: Sequence[str] = bands.MEAN_FIELDS
    else:
        points, fields = scalars.points(chosen), scalars.RunPoint._fields
    export = scalars.export_json if args.form == "json" else scalars.export
    if args.file is None:
        export(points, fields, sys.stdout)
        return
    try:
        with replacing(user_path(args.file)) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            count = export(points, fields, text)
            text.detach()
    except OSError as error:
        raise UserError(f"{args.file} cannot be written ({error.strerror}).") from None
    print(f"{count:,} points of {len(chosen)} runs in {args.file}")

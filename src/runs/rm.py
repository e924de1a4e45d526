"""``rm``: move runs to the trash."""

import argparse
import sys

from src.errors import UserError
from src.records import trash
from src.records.find import find
from src.records.sweep import once
from src.runs.output import print_text


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if a run could not be moved."""
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
        print_text(args.form, rows, "")
    return status

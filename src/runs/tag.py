"""``tag``: add tags to runs, or remove them."""

import argparse
from typing import Any

from src.records.sweep import find_several, once
from src.runs.edit import check_tags, edit, print_edited


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_tags(args.words)

    def retag(run: dict[str, Any]) -> dict[str, Any]:
        kept = [tag for tag in run["tags"] if tag not in args.words]
        return {"tags": kept if args.remove else [*kept, *dict.fromkeys(args.words)]}

    print_edited(args.form, edit(once(find_several([args.run])), "tags", retag))

"""The subcommand ``summary``: what runs have shown, for scripts and agents."""

import argparse
from typing import Any

from src.records.filters import Filter
from src.records.find import read_all
from src.records.findings import findings
from src.records.sweep import find_sweep


def summarize(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the result of ``findings`` for the runs that the arguments select, and messages about unreadable records."""
    records, damaged = (find_sweep(args.sweep).records(), []) if args.sweep else read_all()
    if filter := " ".join(args.filter):
        records = Filter(filter).choose(records)
    found = findings(records, args.k)
    return {**found, "unreadable": damaged}, damaged

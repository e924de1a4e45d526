"""Records that the commands read, with a warning for each problem."""

from collections.abc import Sequence

from src.records.baseline import Baseline, find_baseline, pinned_id, removed_message
from src.records.find import all_runs, read_all
from src.records.record import Record
from src.runs.output import warn


def read_runs() -> list[Record]:
    """All readable records; warns about each that cannot be read."""
    records, damaged = read_all()
    warn(damaged)
    return records


def read_baseline(runs: Sequence[Record] | None = None) -> Baseline | None:
    """The baseline, among ``runs`` if they are all that there are; warns if it has been removed."""
    if pinned_id() is None:
        return None
    runs = all_runs() if runs is None else runs
    if message := removed_message(runs):
        warn([message])
    return find_baseline(runs)

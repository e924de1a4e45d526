"""Python interface to recorded runs: ``from src import runs``. For the command line see ``python -m src.runs``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import UserError, not_installed
from src.records.find import all_runs, check_format, find, find_to_rebuild
from src.records.record import Record
from src.records.settings import settings_of
from src.records.summary import Summary, differing
from src.records.summary import summary as summarize  # the package has a module of that name

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import pandas as pd

    from src.tasks.pipeline import Pipeline


class Run:
    """A recorded run.

    Args:
        record: the record of the run.

    Attributes:
        directory: directory of the run.
        values: entries of the record, such as ``config``, ``metrics`` and ``best``.
    """

    def __init__(self, record: Record) -> None:
        self.record, self.directory, self.values = record, record.directory, record.values

    def __repr__(self) -> str:
        return f"<Run {self.values['id']}, {self.summary.ended}>"

    @property
    def summary(self) -> Summary:
        """Status, metrics and duration of the run."""
        return summarize(self.record)

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """The curves logged to TensorBoard: tag to points of (optimizer step, value)."""
        from src.views.scalars import curves

        return {
            name: [(point.step, point.value) for point in points] for name, points in curves(self.directory).items()
        }

    def model(self, checkpoint: str = "best") -> "pl.LightningModule | Pipeline":
        """Rebuild the trained model; see ``src.runs.model``."""
        from src.training.weights import load_model, path_of

        check_format(self.record)
        return load_model(path_of(self.record, checkpoint))


def load(run: str) -> Run:
    """Load a run.

    Args:
        run: as on the command line: an id, a unique prefix of an id, a name, a directory, ``latest`` or ``best``.

    Raises:
        RunNotFound: no run matches, or several do.
    """
    return Run(find(run))


def to_frame(filter: str | None = None) -> "pd.DataFrame":
    """Return the runs as a data frame, latest first, indexed by id, with a column for each metric and each setting that differs.

    Args:
        filter: a filter as for ``python -m src.runs ls``, such as ``"optimizer.lr<0.01 and status=='done'"``.

    Raises:
        UserError: pandas is not installed, or the filter is invalid.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UserError(not_installed("to_frame()", "pandas")) from None
    from src.views.listing import Asked, as_rows, choose, order

    records: Sequence[Record] = order(choose(all_runs(), filter), None)
    varied = differing(records).keys()
    rows: list[dict[str, Any]] = [
        {**row, **{name: value for name, value in settings_of(record).items() if name in varied}}
        for row, record in zip(as_rows(records, Asked()), records, strict=True)
    ]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["id"])
    return frame.set_index("id")


def model(run: str | Path, checkpoint: str = "best") -> "pl.LightningModule | Pipeline":
    """Rebuild a trained model, on the CPU and in evaluation mode.

    Args:
        run: a run as for ``load``, or a checkpoint file.
        checkpoint: best or last, if ``run`` is a run.

    Returns:
        See ``src.training.weights.load_model``.

    Raises:
        UserError: the run or checkpoint does not exist, or its model cannot be rebuilt.
    """
    from src.training.weights import load_model

    return load_model(run) if Path(run).is_file() else Run(find_to_rebuild(str(run))).model(checkpoint)

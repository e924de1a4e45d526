"""Reading recorded runs from Python: ``from src import runs``. The commands are in ``python -m src.runs``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import UserError
from src.records.find import all_runs, find, find_to_rebuild
from src.records.record import Record
from src.records.settings import settings_of
from src.records.summary import Summary, differing, summary

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import pandas as pd

    from src.tasks.pipeline import Pipeline


class Run:
    """A recorded run.

    Args:
        record: its run.json.

    Attributes:
        directory: where it is.
        values: the record's entries, such as ``config``, ``metrics`` and ``best``.
    """

    def __init__(self, record: Record) -> None:
        self.record, self.directory, self.values = record, record.directory, record.values

    def __repr__(self) -> str:
        return f"<Run {self.values['id']}, {self.summary.ended}>"

    @property
    def summary(self) -> Summary:
        """The run at a glance: status, metrics, duration."""
        return summary(self.record)

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Every curve that was logged to TensorBoard: by its name, points of (optimizer step, value)."""
        from src.views.scalars import curves

        return {
            name: [(point.step, point.value) for point in points] for name, points in curves(self.directory).items()
        }

    def model(self, checkpoint: str = "best") -> "pl.LightningModule | Pipeline":
        """See ``src.runs.model``."""
        return model(self.values["id"], checkpoint)


def load(run: str) -> Run:
    """Find a run.

    Args:
        run: as in the commands: an id, a unique beginning of one, a name, a directory, ``latest`` or ``best``.

    Raises:
        RunNotFound: nothing, or more than one run, goes by that word.
    """
    return Run(find(run))


def to_frame(filter: str | None = None) -> "pd.DataFrame":
    """The run table: a row for each run, the latest first, indexed by the id, with every metric and every setting that differs.

    Args:
        filter: as in ``python -m src.runs ls``, such as ``"optimizer.lr<0.01 and status=='done'"``.

    Raises:
        UserError: pandas is not installed, or the filter is wrong.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UserError("to_frame() needs the package pandas: uv pip install pandas.") from None
    from src.views.listing import as_rows, choose, order

    records: Sequence[Record] = order(choose(all_runs(), filter), None)
    varied = differing(records).keys()
    rows: list[dict[str, Any]] = [
        {**row, **{name: value for name, value in settings_of(record).items() if name in varied}}
        for row, record in zip(as_rows(records), records, strict=True)
    ]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["id"])
    return frame.set_index("id")


def model(run: str | Path, checkpoint: str = "best") -> "pl.LightningModule | Pipeline":
    """Rebuild a trained model, on the CPU and in evaluation mode.

    Args:
        run: a run as in ``load``, or a checkpoint file.
        checkpoint: of a run, best or last.

    Returns:
        See ``src.training.weights.load_model``.

    Raises:
        UserError: there is no such run or checkpoint, or its model cannot be rebuilt.
    """
    from src.training.weights import load_model, path_of

    if Path(run).is_file():
        return load_model(run)
    return load_model(path_of(find_to_rebuild(str(run)), checkpoint))

"""Columns of TensorBoard's HParams tab, and the charts of means."""

from collections.abc import Iterable, Sequence

from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, RealInterval, hparams_config_pb

from src.loggers.hparams import Value, hparams
from src.records.record import Record
from src.records.replicates import Replicates
from src.records.settings import REPLICATES, differing_names, short_names
from src.records.summary import metric_names, summary

# Tags of the number of replicates, of the standard deviation of a metric, and of the edges of a band around its mean.
_N, _STD, LOWER, UPPER = "replicates/n", "replicates/std/", "replicates/lower/", "replicates/upper/"


def hparams_columns(records: Sequence[Record], folded: bool) -> api_pb2.Experiment:
    """The columns of the table: the settings in which runs differ, the learning rate first, then the metrics.

    Args:
        records: the runs.
        folded: whether replicates share a row, which shows standard deviation and number, but not seed and fold.
    """
    settings = [hparams(record) for record in records]
    names = [name for name in differing_names(settings) if not (folded and name in REPLICATES)]
    rates = [name for one in settings for name in one if name.rpartition(".")[2] == "lr"]
    names = list(dict.fromkeys([*(name for name in rates if name in names), *names])) or rates[:1]
    domains = {name: _domain([one[name] for one in settings if name in one]) for name in names}
    metrics = _metrics(metric_names(map(summary, records)), folded)
    config = hparams_config_pb(
        hparams=[
            HParam(name, domains[name], display_name=short)
            for name, short in zip(names, short_names(names), strict=True)
        ],
        metrics=[Metric(tag, display_name=name) for tag, name in metrics.items()],
        time_created_secs=0.0,
    )
    return metadata.parse_experiment_plugin_data(config.value[0].metadata.plugin_data.content)


def _metrics(names: Sequence[str], folded: bool) -> dict[str, str]:
    """Tags and headings; TensorBoard shows the first five, the others can be selected."""
    if not (folded and names):
        return {name: name for name in names}
    first, *others = names
    stds = {_STD + name: f"{name} std" for name in names}
    return {first: first, _STD + first: stds[_STD + first], _N: "n", **{name: name for name in others}, **stds}


def spread(replicates: Replicates) -> dict[str, float]:
    """Number of replicates and standard deviation of each metric, by tag."""
    found = {name: replicates.metric(name) for name in metric_names(replicates.summaries)}
    stds = {_STD + name: value.std for name, value in found.items() if value and value.std is not None}
    return {_N: float(len(replicates.used)), **stds}


def margin_charts(tags: Iterable[str]) -> layout_pb2.Category:
    """Charts of the mean and the standard deviation of these curves."""
    return layout_pb2.Category(
        title="mean ± standard deviation over seeds and folds",
        chart=[
            layout_pb2.Chart(
                title=tag,
                margin=layout_pb2.MarginChartContent(
                    series=[layout_pb2.MarginChartContent.Series(value=tag, lower=LOWER + tag, upper=UPPER + tag)]
                ),
            )
            for tag in tags
        ],
    )


def _domain(values: Sequence[Value]) -> Discrete | RealInterval | None:
    """Domain for the tab's filters: discrete for strings, an interval for numbers, None for mixed types."""
    if all(isinstance(value, float) for value in values):
        return RealInterval(min(values), max(values))
    kinds = {type(value) for value in values}
    return Discrete(list(dict.fromkeys(values))) if len(kinds) == 1 else None

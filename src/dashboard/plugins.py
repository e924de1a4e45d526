"""TensorBoard's plugins, changed to show what matters first."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from tensorboard import default, plugin_util
from tensorboard.data.provider import DataProvider, RunTagFilter
from tensorboard.plugins.base_plugin import TBContext, TBLoader, TBPlugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.hparams import api_pb2, backend_context
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.plugins.metrics.metrics_plugin import MetricsPlugin
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin

# Tags with these prefixes are read by HParams and Custom Scalars only.
HIDDEN = "replicates/"
# Time Series sorts its groups by name and expands the first two, which are to be train and val.
_GROUPS = {
    "within the epochs": r"lr|lr/.*|gradient_norm|samples|samples_per_s|system/.*|train/\w+_step",
    "whole run": r"best/.*|test[/_].*|inputs|mistakes|confusion_matrix|reliability|calibration|robustness|explain/.*",
    "weights": r"gradients/.*|first_layer",
}


def displayed(tag: str) -> str:
    """The tag of a scalar, a histogram or an image in Time Series: ``within the epochs/lr`` for ``lr``."""
    return next((f"{group}/{tag}" for group, names in _GROUPS.items() if re.fullmatch(names, tag)), tag)


def _original(tag: str) -> str:
    group, _, rest = tag.partition("/")
    return rest if group in _GROUPS and displayed(rest) == tag else tag


def _listed(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        run: {displayed(tag): one for tag, one in series.items() if not tag.startswith(HIDDEN)}
        for run, series in found.items()
    }


def _read(read: Callable[..., Any], ctx: Any, asked: RunTagFilter, **arguments: Any) -> dict[str, dict[str, Any]]:
    tags = {_original(tag): tag for tag in asked.tags}
    found = read(ctx, run_tag_filter=RunTagFilter(runs=asked.runs, tags=list(tags)), **arguments)
    return {run: {tags[tag]: one for tag, one in series.items()} for run, series in found.items()}


class Displayed:
    """A data provider of TensorBoard with the tags as they are displayed.

    Args:
        provider: the original.
    """

    def __init__(self, provider: DataProvider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def list_scalars(self, ctx: Any = None, **arguments: Any) -> dict[str, dict[str, Any]]:
        """List scalars by run and tag."""
        return _listed(self._provider.list_scalars(ctx, **arguments))

    def list_tensors(self, ctx: Any = None, **arguments: Any) -> dict[str, dict[str, Any]]:
        """List histograms and texts by run and tag."""
        return _listed(self._provider.list_tensors(ctx, **arguments))

    def list_blob_sequences(self, ctx: Any = None, **arguments: Any) -> dict[str, dict[str, Any]]:
        """List images by run and tag."""
        return _listed(self._provider.list_blob_sequences(ctx, **arguments))

    def read_scalars(
        self, ctx: Any = None, *, run_tag_filter: RunTagFilter, **arguments: Any
    ) -> dict[str, dict[str, Any]]:
        """Read scalars by run and tag."""
        return _read(self._provider.read_scalars, ctx, run_tag_filter, **arguments)

    def read_tensors(
        self, ctx: Any = None, *, run_tag_filter: RunTagFilter, **arguments: Any
    ) -> dict[str, dict[str, Any]]:
        """Read histograms and texts by run and tag."""
        return _read(self._provider.read_tensors, ctx, run_tag_filter, **arguments)

    def read_blob_sequences(
        self, ctx: Any = None, *, run_tag_filter: RunTagFilter, **arguments: Any
    ) -> dict[str, dict[str, Any]]:
        """Read images by run and tag."""
        return _read(self._provider.read_blob_sequences, ctx, run_tag_filter, **arguments)


class _Loader(TBLoader):  # type: ignore[misc]
    """Loads a plugin by a function of its context."""

    def __init__(self, load: Callable[[TBContext], TBPlugin]) -> None:
        self.load = load


class _Columns(backend_context.Context):  # type: ignore[misc]
    """The context of HParams with the columns of the view.

    TensorBoard would read the columns from a run that contains nothing else, and sort them by name.
    """

    def __init__(self, context: TBContext, columns: Callable[[], api_pb2.Experiment]) -> None:
        super().__init__(context)
        self._columns = columns

    def experiment_from_metadata(
        self, ctx: Any, experiment_id: str, include_metrics: bool, *_: Any, **__: Any
    ) -> api_pb2.Experiment:
        """The columns."""
        experiment = api_pb2.Experiment()
        experiment.CopyFrom(self._columns())
        if not include_metrics:
            experiment.ClearField("metric_infos")
        return experiment


def make_plugins(
    columns: Callable[[], api_pb2.Experiment], charts: Callable[[], layout_pb2.Category | None]
) -> list[TBLoader | type[TBPlugin]]:
    """All plugins of TensorBoard, for ``tensorboard.program.TensorBoard``.

    Args:
        columns: returns the columns of HParams.
        charts: returns a category of charts to show first in Custom Scalars, if there is one.
    """

    class HParams(HParamsPlugin):  # type: ignore[misc]
        def __init__(self, context: TBContext) -> None:
            super().__init__(context)
            self._context = _Columns(context, columns)

    class CustomScalars(CustomScalarsPlugin):  # type: ignore[misc]
        def layout_impl(self, ctx: Any, experiment: str) -> str | dict[str, Any]:
            layout, first = super().layout_impl(ctx, experiment), charts()
            if not first:
                return layout  # JSON, or an empty dict
            of_the_runs = json_format.Parse(layout or "{}", layout_pb2.Layout())
            return plugin_util.proto_to_json(layout_pb2.Layout(category=[first, *of_the_runs.category]))

    def grouped(plugin: type[TBPlugin]) -> TBLoader:
        def load(context: TBContext) -> TBPlugin:
            return plugin(TBContext(**{**vars(context), "data_provider": Displayed(context.data_provider)}))

        return _Loader(load)

    changed = {
        MetricsPlugin: grouped(MetricsPlugin),
        ScalarsPlugin: grouped(ScalarsPlugin),
        HParamsPlugin: HParams,
        CustomScalarsPlugin: CustomScalars,
    }
    return [changed.get(plugin, plugin) for plugin in default.get_plugins()]

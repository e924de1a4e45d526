"""Figures of the test results in TensorBoard. matplotlib is imported only when a figure is drawn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import lightning.pytorch as pl
from torchmetrics.functional.classification import multiclass_confusion_matrix

from src.bounds import Samples
from src.callbacks.after_test import AfterTest, Outcome, writers
from src.callbacks.results import calibration
from src.data.images import for_drawing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Mistakes(AfterTest):
    """Draws the most confident misclassifications with true class, predicted class and confidence: image ``mistakes``."""

    def __init__(self, *, count: Annotated[Samples, "number of mistakes, five in a row"] = 25) -> None:
        self.count = count

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Draw the misclassified samples."""
        worst = outcome.worst(self.count)
        if not (worst and outcome.shows_pictures and writers(trainer)):
            return
        from matplotlib.figure import Figure

        rows = -(-len(worst) // 5)
        figure = Figure(figsize=(7.5, 1.8 * rows), layout="constrained")
        panels = figure.subplots(rows, 5, squeeze=False).flatten()
        for panel in panels:
            panel.set_axis_off()
        for panel, index in zip(panels, worst, strict=False):
            predicted = int(outcome.predicted[index])
            panel.imshow(for_drawing(outcome.inputs[index]).numpy(), cmap="gray", vmin=0, vmax=255)
            true, confidence = outcome.names[int(outcome.labels[index])], outcome.probabilities[index, predicted]
            panel.set_title(f"true {true}\npredicted {outcome.names[predicted]} ({confidence:.1%})", fontsize=8)
        _add(trainer, "mistakes", figure)


class ConfusionMatrix(AfterTest):
    """Draws the confusion matrix of the test set: image ``confusion_matrix``."""

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Draw the counts; the color scale excludes the diagonal, which would dominate it."""
        if not writers(trainer):
            return
        figure, axes = _figure()
        counts = multiclass_confusion_matrix(outcome.predicted, outcome.labels, len(outcome.names))
        wrong = counts.clone().fill_diagonal_(0)
        axes.imshow(wrong.numpy(), cmap="Reds")
        for row, line in enumerate(counts.tolist()):
            for column, count in enumerate(line):
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8)
        # Names longer than two characters are rotated, so that they do not overlap.
        leans = max(map(len, outcome.names)) > 2
        axes.set_xticks(
            range(len(outcome.names)),
            outcome.names,
            rotation=45 if leans else 0,
            ha="right" if leans else "center",
        )
        axes.set_yticks(range(len(outcome.names)), outcome.names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        _add(trainer, "confusion_matrix", figure)


class Reliability(AfterTest):
    """Draws the reliability diagram, accuracy over confidence, with the expected calibration error: image ``reliability``."""

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Draw the bins; a calibrated model is on the diagonal."""
        if writers(trainer):
            _add(trainer, "reliability", reliability({"test": calibration(outcome)}))


class PRCurves(AfterTest):
    """Precision and recall of each class over the threshold: ``pr/<class>`` in the PR Curves tab."""

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Add a curve for each class."""
        for writer in writers(trainer):
            for number, name in enumerate(outcome.names):
                truth = outcome.labels == number
                writer.add_pr_curve(f"pr/{name}", truth, outcome.probabilities[:, number], trainer.global_step)


def reliability(found: Mapping[str, Mapping[str, Any]]) -> "Figure":
    """Draw accuracy over confidence, with a line for each named result of ``src.callbacks.results.calibration``."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], linestyle=":", color="gray")
    for name, one in found.items():
        label = f"{name}: expected calibration error {one['ece']:.4f}"
        confidence, accuracy = ([here[key] for here in one["bins"]] for key in ("confidence", "accuracy"))
        axes.plot(confidence, accuracy, marker="o", label=label)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.legend(frameon=False)
    return figure


def _figure() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    return figure, figure.subplots()


def _add(trainer: pl.Trainer, tag: str, figure: "Figure") -> None:
    for writer in writers(trainer):
        writer.add_image(tag, drawn(figure), trainer.global_step, dataformats="HWC")


def drawn(figure: "Figure") -> "npt.NDArray[np.uint8]":
    """Render a figure to pixels, (height, width, 3).

    TensorBoard's ``add_figure`` would use pyplot, whose state is global to the process.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]

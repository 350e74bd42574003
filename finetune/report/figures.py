"""The report's pictures, drawn in one style and returned as data URIs, so that the page stands alone."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from common.page.drawing import BLUE, INK, PALE_BLUE, STYLE, VERMILION, data_uri
from common.page.page import number
from finetune.evaluation.metrics.curves import Curve, precision_recall, roc
from finetune.evaluation.result import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POSITIVE, NEGATIVE, FOLD = VERMILION, BLUE, PALE_BLUE
MAX_COLUMNS = 3


def roc_figure(evaluation: Evaluation) -> str:
    """ROC curves, one panel per label: folds thin, pooled bold."""

    def draw(axes: "Axes", column: int, label: str) -> None:
        _curves(evaluation, axes, column, roc)
        axes.plot([0, 1], [0, 1], color="#7b8794", linestyle=":", linewidth=1, label="chance")
        axes.set(title=f"{label}: AUROC {number(evaluation.pooled.labels[label]['auroc'])}")
        axes.set(xlabel="1 - specificity", ylabel="Sensitivity")
        _share_axes(axes)
        axes.legend(loc="lower right")

    return panels(evaluation, draw, height=3.4)


def precision_recall_figure(evaluation: Evaluation) -> str:
    """Precision-recall curves, one panel per label: folds thin, pooled bold, chance at the prevalence."""

    def draw(axes: "Axes", column: int, label: str) -> None:
        metrics = evaluation.pooled.labels[label]
        _curves(evaluation, axes, column, precision_recall)
        if metrics["prevalence"] is not None:
            axes.axhline(metrics["prevalence"], color="#7b8794", linestyle=":", linewidth=1, label="chance (prevalence)")
        axes.set(title=f"{label}: average precision {number(metrics['average_precision'])}")
        axes.set(xlabel="Recall", ylabel="Precision")
        _share_axes(axes)
        axes.legend(loc="best")

    return panels(evaluation, draw, height=3.4)


def histogram_figure(evaluation: Evaluation) -> str:
    """Probabilities by true class, one panel per label, each class as shares of its own clips; the export's threshold as a line."""
    predictions = evaluation.predictions
    bins = np.linspace(0, 1, 26)

    def draw(axes: "Axes", column: int, label: str) -> None:
        for value, colour, name in ((0, NEGATIVE, "absent"), (1, POSITIVE, "present")):
            shown = predictions.probabilities[predictions.targets[:, column] == value, column]
            if len(shown):
                shares = np.histogram(shown, bins)[0] / len(shown)
                axes.stairs(shares, bins, fill=True, color=colour, alpha=0.25)
                axes.stairs(shares, bins, color=colour, linewidth=1.4, label=f"{name} ({len(shown):,})")
        axes.axvline(evaluation.thresholds.values[column], color=INK, linestyle="--", linewidth=1, label="threshold")
        axes.set(title=label, xlabel="Probability", ylabel="Share of the class's clips", xlim=(0, 1))
        axes.set_ylim(top=1.35 * axes.get_ylim()[1])
        axes.legend(loc="upper center")

    return panels(evaluation, draw, height=2.9)


def confusion_figure(evaluation: Evaluation) -> str:
    """One 2 x 2 confusion matrix per label: counts, shaded by the share of the true class."""

    def draw(axes: "Axes", column: int, label: str) -> None:
        metrics = evaluation.pooled.labels[label]
        counts = [[metrics["true_negatives"], metrics["false_positives"]], [metrics["false_negatives"], metrics["true_positives"]]]
        _matrix(axes, np.array(counts), ("absent", "present"))
        axes.set(title=label)

    return panels(evaluation, draw, height=2.9)


def class_confusion_figure(evaluation: Evaluation) -> str:
    """The confusion matrix of the decided classes."""
    import matplotlib
    from matplotlib.figure import Figure

    classes, counts = evaluation.pooled.classes.classes, evaluation.pooled.classes.confusion
    side = 1.6 + 0.85 * len(classes)
    with matplotlib.rc_context(STYLE):
        # "constrained" places labels before the cells are made square, and so may cut them off.
        figure = Figure(figsize=(side + 1.2, side), layout="compressed")
        _matrix(figure.add_subplot(), counts, classes)
        return data_uri(figure)


def _curves(evaluation: Evaluation, axes: "Axes", column: int, curve_of: Callable[[np.ndarray, np.ndarray], Curve | None]) -> None:
    predictions = evaluation.predictions
    targets, scores = predictions.targets[:, column], predictions.probabilities[:, column]
    name: str | None = "each fold"
    for fold in predictions.folds:
        curve = curve_of(targets[predictions.fold == fold], scores[predictions.fold == fold])
        if curve is not None:
            axes.plot(curve.x, curve.y, color=FOLD, linewidth=0.9, label=name)
            name = None
    curve = curve_of(targets, scores)
    if curve is None:
        axes.text(0.5, 0.5, "one class only", ha="center", va="center")
    else:
        axes.plot(curve.x, curve.y, color=NEGATIVE, linewidth=2.2, label="pooled", clip_on=False)


def _share_axes(axes: "Axes") -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])


def _matrix(axes: "Axes", counts: np.ndarray, names: tuple[str, ...]) -> None:
    """Draw ``counts`` [C, C], true class by decided class."""
    row_sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, row_sums, out=np.zeros(counts.shape), where=row_sums > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            share = f"\n{shares[row, column]:.0%}" if row_sums[row] else ""
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{counts[row, column]:,}{share}", ha="center", va="center", color=colour, fontsize=9)
    wrapped = [name.replace(" + ", " +\n") for name in names]
    axes.set_xticks(range(len(names)), wrapped)
    axes.set_yticks(range(len(names)), wrapped)
    axes.set(xlabel="Decided", ylabel="True")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def panels(evaluation: Evaluation, draw: Callable[["Axes", int, str], None], height: float) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    labels = evaluation.predictions.labels
    columns = min(len(labels), MAX_COLUMNS)
    rows = math.ceil(len(labels) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * columns, height * rows), layout="constrained")
        for column, label in enumerate(labels):
            draw(figure.add_subplot(rows, columns, column + 1), column, label)
        return data_uri(figure)

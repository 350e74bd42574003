"""Points of the ROC and precision-recall curves of one label, for figures and for tracking."""

from dataclasses import dataclass

import numpy as np

MAX_POINTS = 500


@dataclass(frozen=True)
class Curve:
    """A curve of P points, x against y, both shares in 0 to 1.

    Attributes:
        x: [P]; ROC: 1 - specificity, ascending. Precision-recall: recall, descending.
        y: [P]; ROC: sensitivity. Precision-recall: precision.
    """

    x: np.ndarray
    y: np.ndarray


def roc(targets: np.ndarray, scores: np.ndarray) -> Curve | None:
    """ROC curve over the annotated clips (``targets`` [n] of 1, 0 or NaN), or None where they are of one class."""
    from sklearn.metrics import roc_curve

    truth, scores = _annotated(targets, scores)
    if truth.all() or not truth.any():
        return None
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
    return _thin(Curve(false_positive_rate, true_positive_rate))


def precision_recall(targets: np.ndarray, scores: np.ndarray) -> Curve | None:
    """Precision-recall curve over the annotated clips (``targets`` [n] of 1, 0 or NaN), or None where they are of one class."""
    from sklearn.metrics import precision_recall_curve

    truth, scores = _annotated(targets, scores)
    if truth.all() or not truth.any():
        return None
    precision, recall, _ = precision_recall_curve(truth, scores, drop_intermediate=True)
    return _thin(Curve(recall, precision))


def _annotated(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = ~np.isnan(targets)
    return targets[known] == 1, scores[known]


def _thin(curve: Curve) -> Curve:
    """At most `MAX_POINTS` points, both ends kept: more cannot be seen, and swell a page of many curves to megabytes."""
    if len(curve.x) <= MAX_POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, MAX_POINTS).round().astype(int))
    return Curve(curve.x[kept], curve.y[kept])

"""What one label's predictions are worth; a number that the clips cannot give is None, never 0."""

from collections.abc import Mapping, Sequence

import numpy as np

METRICS = ("auroc", "average_precision", "precision", "recall", "specificity", "f1", "accuracy")

LabelMetrics = dict[str, float | int | None]


def label_metrics(targets: np.ndarray, scores: np.ndarray, decisions: np.ndarray) -> LabelMetrics:
    """Metrics of one label over its annotated clips.

    Where the annotated clips are all of one class every metric is None, since ranking is undefined and the rest says nothing;
    precision is None as well where no clip is decided positive. The counts are always there.

    Args:
        targets: [n] of 1, 0 or NaN (not annotated: left out).
        scores: [n], higher for positive.
        decisions: [n] of 1 or 0.

    Returns:
        n, positives, prevalence, true_positives, false_positives, false_negatives, true_negatives, and `METRICS`. Recall is the
        sensitivity. Everything but the first two and the four counts is a share, 0 to 1.
    """
    known = ~np.isnan(targets)
    truth, scores, decided = targets[known] == 1, scores[known], decisions[known] == 1
    n, positives = len(truth), int(truth.sum())
    tp, fp = int((truth & decided).sum()), int((~truth & decided).sum())
    fn, tn = positives - tp, n - positives - fp
    metrics: LabelMetrics = {
        "n": n,
        "positives": positives,
        "prevalence": _share(positives, n),
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
    }
    if positives in (0, n):
        return metrics | dict.fromkeys(METRICS)
    return metrics | {
        "auroc": auroc(truth, scores),
        "average_precision": average_precision(truth, scores),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, positives),
        "specificity": _share(tn, n - positives),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "accuracy": _share(tp + tn, n),
    }


def macro_metrics(labels: Mapping[str, LabelMetrics], scored: Sequence[str]) -> dict[str, float | None]:
    """Mean of each metric over the ``scored`` labels; None where one of them has none, or there is none of them.

    A mean over the labels that happen to be defined would compare folds by different labels.
    """
    macro: dict[str, float | None] = {}
    for name in METRICS:
        values = [labels[label][name] for label in scored]
        macro[name] = None if None in values or not values else float(np.mean(np.array(values, dtype=float)))
    return macro


def auroc(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve: the chance that a positive clip scores above a negative one, ties counting half.

    Args:
        truth: bool [n].
        scores: [n].

    Returns:
        0 to 1, or None where all clips are of one class.

    Example:
        >>> auroc(np.array([True, False, True]), np.array([0.9, 0.2, 0.2]))
        0.75
    """
    value = float(weighted_auroc(truth, scores, np.ones((1, len(truth))))[0])
    return None if np.isnan(value) else value


def weighted_auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC under many weightings of the same clips, for the bootstrap: one sort serves all of them.

    The Mann-Whitney statistic with ties at one half: the sum over positives of their weight times (W- below + W- up to here) / 2, where
    W- are the weights of negatives in ascending order added up, divided by the total weights of both classes.

    Args:
        truth: bool [n].
        scores: [n].
        weights: [R, n], at least 0; a bootstrap's are how often each clip was drawn.

    Returns:
        float64 [R], NaN where one class has no weight.

    Reference:
        Hanley & McNeil, "The meaning and use of the area under a ROC curve", 1982.
    """
    negatives, up_to = _added_up(scores[~truth], weights[:, ~truth])
    positive = weights[:, truth]
    below, here = (up_to[:, np.searchsorted(negatives, scores[truth], side)] for side in ("left", "right"))
    total = positive.sum(axis=1) * up_to[:, -1]
    ranked = (positive * (below + here)).sum(axis=1) / 2
    return np.divide(ranked, total, out=np.full(len(weights), np.nan), where=total > 0)


def weighted_average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `average_precision` under many weightings of the same clips, for the bootstrap; arguments and returns as `weighted_auroc`.

    The sum over positives of their weight times the precision among the clips that score as high or higher.
    """
    of_class = [_added_up(-scores[rows], weights[:, rows]) for rows in (truth, ~truth)]
    found, false = (up_to[:, np.searchsorted(ordered, -scores[truth], "right")] for ordered, up_to in of_class)
    precision = np.divide(found, found + false, out=np.zeros(found.shape), where=found > 0)
    positive = weights[:, truth]
    positives = positive.sum(axis=1)
    return np.divide((positive * precision).sum(axis=1), positives, out=np.full(len(weights), np.nan), where=positives > 0)


def _added_up(scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores in ascending order [m], and the weights of the first 0 to m of them added up [R, m + 1]."""
    order = np.argsort(scores, kind="stable")
    up_to = np.zeros((len(weights), len(scores) + 1))
    np.cumsum(weights[:, order], axis=1, out=up_to[:, 1:])
    return scores[order], up_to


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean precision over the steps in recall, without interpolation; chance level is the prevalence. ``truth`` bool [n], both classes."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, scores))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

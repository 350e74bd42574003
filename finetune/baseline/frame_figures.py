"""How well frames tell events apart, and from which probability on each event is called present."""

from collections.abc import Sequence

import numpy as np

from finetune.evaluation.metrics.label_metrics import label_metrics
from finetune.evaluation.thresholds.per_label import choose_threshold


def frame_figures(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Figures of n frames, label by label.

    Args:
        targets: whether each frame holds each event: 1, 0 or NaN (not known: left out), [n, E].
        probabilities: [n, E].
        labels: of the events.

    Returns:
        Label -> ``frames`` (how many are known), ``threshold`` (what maximises F1 over these very frames), ``f1`` (what it reaches on
        them, which flatters it) and ``auroc``; all but the first are None where the known frames are all of one class.
    """
    return {label: _figures(targets[:, column], probabilities[:, column]) for column, label in enumerate(labels)}


def _figures(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float | int | None]:
    threshold = choose_threshold(targets, probabilities, "f1")
    decided = np.zeros(len(targets)) if threshold is None else probabilities >= threshold
    found = label_metrics(targets, probabilities, decided)
    return {"frames": found["n"], "threshold": threshold, "f1": found["f1"], "auroc": found["auroc"]}

"""What a reduced file loses in AUROC against the float32 one, on the same clips, with intervals over patients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetune.evaluation.intervals.bootstrap import count_groups, patient_weights, percentile_interval
from finetune.evaluation.metrics.label_metrics import weighted_auroc
from finetune.evaluation.out_of_fold import OutOfFold

RESAMPLES = 1000


def auroc_loss(clips: OutOfFold, full: np.ndarray, reduced: np.ndarray, scored: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """AUROC of both files and their difference, per label and in the mean over the scored ones.

    The bootstrap draws the same patients for both files, so that what makes a patient hard for both cancels.

    Args:
        clips: targets and patients of n clips, each held out by the network that answered for it.
        full: probabilities of the float32 files, [n, L].
        reduced: of the reduced ones, [n, L].
        scored: labels of the mean.
        seed: of the bootstrap.

    Returns:
        ``macro`` and, by label, ``labels``: each with ``auroc``, ``reduced_auroc``, ``loss`` (positive where the reduced file is worse) and
        its 95 % ``interval``, null where a class is missing; ``clips``, ``groups`` and ``over``: what was drawn.
    """
    once = [np.ones((1, len(clips.group)))]
    drawn = list(patient_weights(clips.group, RESAMPLES, seed))
    groups = count_groups(clips.group)

    def areas(column: int, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        known = ~np.isnan(clips.targets[:, column])
        truth = clips.targets[known, column] == 1
        parts = [part[:, known] for part in weights]
        both = [np.concatenate([weighted_auroc(truth, of[known, column], part) for part in parts]) for of in (full, reduced)]
        return both[0], both[1]

    def figures(of_all: tuple[np.ndarray, np.ndarray], of_draws: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        (before,), (after,) = of_all
        interval = percentile_interval(of_draws[0] - of_draws[1], groups)
        return {
            "auroc": _or_none(before),
            "reduced_auroc": _or_none(after),
            "loss": _or_none(before - after),
            "interval": None if interval is None else list(interval),
        }

    of_labels = {label: (areas(column, once), areas(column, drawn)) for column, label in enumerate(clips.labels)}

    def mean(part: int) -> tuple[np.ndarray, np.ndarray]:
        found = np.array([of_labels[label][part] for label in scored])
        return found[:, 0].mean(axis=0), found[:, 1].mean(axis=0)

    return {
        "macro": figures(mean(0), mean(1)),
        "labels": {label: figures(*found) for label, found in of_labels.items()},
        "clips": len(clips.table),
        "groups": groups,
        "over": "patients" if clips.counts()["patients"] is not None else "recordings",
    }


def _or_none(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)

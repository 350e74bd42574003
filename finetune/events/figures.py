"""From counts to figures: F1, precision, recall and error rate, each with its interval over patients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetune.evaluation.intervals.bootstrap import Draws, count_groups, patient_weights, percentile_intervals, ratio
from finetune.events.counts import Counts


def figures_of(counts: dict[str, Counts], labels: Sequence[str], group: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    """Every figure, JSON-safe.

    Args:
        counts: criterion -> counts of R recordings.
        labels: L.
        group: patient of each recording [R].
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        Criterion -> ``macro_f1`` (mean over the labels that have an annotated event), ``f1`` and ``error_rate`` over all labels, and
        ``labels``: label -> f1, precision, recall, error_rate and the counts ``right``, ``reference`` and ``found``. Of every figure
        NAME there is ``NAME_ci``, its 95 % interval over patients, None where there is none.
    """
    weights = np.concatenate([np.ones((1, len(group))), *patient_weights(group, resamples, seed)])
    nested: dict[str, Any] = {}
    for criterion, of_criterion in counts.items():
        drawn = _draws(of_criterion, labels, weights)
        intervals = percentile_intervals({name: values[1:] for name, values in drawn.items()}, count_groups(group))
        flat = {name: _number(values[0]) for name, values in drawn.items()}
        total = of_criterion.labels.sum(axis=0)

        def both(name: str, key: str, flat: dict[str, Any] = flat, intervals: dict[str, Any] = intervals) -> dict[str, Any]:
            interval = intervals[key]
            return {name: flat[key], f"{name}_ci": None if interval is None or flat[key] is None else list(interval)}

        nested[criterion] = both("macro_f1", "macro_f1") | both("f1", "f1") | both("error_rate", "error_rate")
        nested[criterion]["labels"] = {
            label: {
                **both("f1", f"f1_{label}"),
                **both("precision", f"precision_{label}"),
                **both("recall", f"recall_{label}"),
                **both("error_rate", f"error_rate_{label}"),
                **{name: int(total[column, at]) for at, name in enumerate(("right", "reference", "found"))},
            }
            for column, label in enumerate(labels)
        }
    return nested


def _draws(counts: Counts, labels: Sequence[str], weights: np.ndarray) -> Draws:
    """Name -> figure under each row of ``weights`` [C, R]: how often each recording counts."""
    # [C, L] each.
    right, reference, found = np.einsum("cr,rlk->kcl", weights, counts.labels)
    annotated = counts.labels[:, :, 1].sum(axis=0) > 0
    # Without an annotated event there is nothing to find: no figure, also where something was found.
    f1 = np.where(reference > 0, ratio(2 * right, reference + found), np.nan)
    drawn = {
        "macro_f1": f1[:, annotated].mean(axis=1) if annotated.any() else np.full(len(weights), np.nan),
        "f1": ratio(2 * right.sum(axis=1), (reference + found).sum(axis=1)),
        "error_rate": ratio(weights @ counts.errors, reference.sum(axis=1)),
    }
    for column, label in enumerate(labels):
        one = right[:, column], reference[:, column], found[:, column]
        drawn |= {
            f"f1_{label}": f1[:, column],
            f"precision_{label}": ratio(one[0], one[2]),
            f"recall_{label}": ratio(one[0], one[1]),
            f"error_rate_{label}": ratio(one[1] + one[2] - 2 * one[0], one[1]),
        }
    return drawn


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

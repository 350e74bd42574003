"""How far AUROC could be off by the chance of which patients were there: a bootstrap over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.evaluation.metrics import weighted_auroc

Interval = tuple[float, float] | None

CHUNK = 200


@dataclass(frozen=True)
class AurocIntervals:
    """95 % intervals of the pooled AUROC; None where there are fewer than two groups or most resamples lack a class.

    Attributes:
        labels: label -> (low, high).
        macro: (low, high) of the mean over the scored labels.
        resamples: how many were drawn.
        groups: how many patients (or recordings) were drawn from.
    """

    labels: dict[str, Interval]
    macro: Interval
    resamples: int
    groups: int


def auroc_intervals(
    targets: np.ndarray,
    scores: np.ndarray,
    group: np.ndarray,
    labels: Sequence[str],
    scored: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> AurocIntervals:
    """Percentile bootstrap of the AUROCs, drawing whole groups with replacement.

    Clips of one patient are alike: drawing clips would take a patient's twenty recordings for twenty independent facts and give
    intervals that are too narrow. The intervals hold the models fixed; what another training run would change is not in them.
    Resamples in which a label has one class only are left out of its interval.

    Args:
        targets: [n, L] of 1, 0 or NaN (left out of that label).
        scores: [n, L].
        group: [n], the patient or recording of each clip.
        labels: names of the L labels.
        scored: the labels of the macro mean.
        resamples: number of draws.
        seed: of the draws.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; by clusters: Field & Welsh, 2007.
    """
    known = ~np.isnan(targets)
    annotated = known.any(axis=1)
    names, member = np.unique(group[annotated], return_inverse=True)
    generator = np.random.default_rng(seed)
    draws = np.empty((resamples, len(labels)))
    # In chunks, since a weight per resample and clip would take gigabytes on tens of thousands of clips.
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        weights = np.zeros((count, len(targets)))
        weights[:, annotated] = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)[:, member]
        for column in range(len(labels)):
            of_label = known[:, column]
            draws[start : start + count, column] = weighted_auroc(
                targets[of_label, column] == 1, scores[of_label, column], weights[:, of_label]
            )
    columns = [list(labels).index(label) for label in scored]
    return AurocIntervals(
        labels={label: _interval(draws[:, column], len(names)) for column, label in enumerate(labels)},
        macro=_interval(draws[:, columns].mean(axis=1), len(names)),
        resamples=resamples,
        groups=len(names),
    )


def _interval(draws: np.ndarray, groups: int) -> Interval:
    defined = draws[~np.isnan(draws)]
    if groups < 2 or 2 * len(defined) <= len(draws):
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)

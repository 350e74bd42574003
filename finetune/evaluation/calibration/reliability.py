"""Do probabilities mean what they say: reliability curve, expected calibration error, Brier score and its parts, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.evaluation.intervals.bootstrap import Interval, count_groups, patient_weights, percentile_interval, ratio

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Of one label's n annotated clips in at most `BINS` bins of equal numbers of clips; clips of equal probability stay together.

    Attributes:
        n: annotated clips; with none of them, or one class, everything else is None or empty.
        predicted: mean probability of each bin, ascending.
        observed: share of positive clips of each bin.
        counts: clips of each bin.
        observed_intervals: 95 % interval of each ``observed``.
        ece: expected calibration error, the mean distance between predicted and observed, weighted by the counts (Naeini et al.
            2015); with few clips it lies above 0 for perfect probabilities too, and its bootstrap interval is shifted up likewise.
        brier: mean squared distance between probability and truth; 0 is perfect, p (1 - p) is what the prevalence p alone gives.
        ece_interval: 95 %.
        brier_interval: 95 %.
        miscalibration: sum over bins of share x (predicted - observed)^2, Murphy's reliability term; lower is better.
        resolution: sum over bins of share x (observed - prevalence)^2; higher is better.
        uncertainty: prevalence x (1 - prevalence). brier = miscalibration - resolution + uncertainty, and a rest from the spread of
            probabilities within bins (Murphy, Journal of Applied Meteorology 12, 1973; Stephenson et al. 2008).
    """

    n: int
    predicted: tuple[float, ...] = ()
    observed: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    observed_intervals: tuple[Interval, ...] = ()
    ece: float | None = None
    brier: float | None = None
    ece_interval: Interval = None
    brier_interval: Interval = None
    miscalibration: float | None = None
    resolution: float | None = None
    uncertainty: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Nested, JSON-safe."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def reliability(
    targets: np.ndarray, probabilities: np.ndarray, group: np.ndarray, labels: Sequence[str], resamples: int, seed: int
) -> dict[str, Reliability]:
    """Judge every label.

    Args:
        targets: [n, L] of 1, 0 or NaN (left out of that label).
        probabilities: [n, L].
        group: [n], what the bootstrap draws; "" is never drawn.
        labels: names of the L labels.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    known = ~np.isnan(targets)
    judged = [c for c in range(len(labels)) if 0 < (targets[:, c] == 1).sum() < known[:, c].sum()]
    bins = {c: assign_bins(probabilities[known[:, c], c]) for c in judged}
    errors: dict[int, list[np.ndarray]] = {c: [] for c in judged}
    briers: dict[int, list[np.ndarray]] = {c: [] for c in judged}
    shares: dict[int, list[np.ndarray]] = {c: [] for c in judged}
    for weights in patient_weights(group, resamples, seed):
        for c in judged:
            truth, scores, of_label = targets[known[:, c], c], probabilities[known[:, c], c], weights[:, known[:, c]]
            counts, predicted, observed = _binned(truth, scores, bins[c], of_label)
            errors[c].append(_ece(counts, predicted, observed))
            shares[c].append(observed)
            briers[c].append(ratio(of_label @ (scores - truth) ** 2, of_label.sum(axis=1)))
    groups = count_groups(group)
    found = {}
    for c, label in enumerate(labels):
        found[label] = Reliability(int(known[:, c].sum()))
        if c not in judged:
            continue
        truth, scores = targets[known[:, c], c], probabilities[known[:, c], c]
        counts, predicted, observed = _binned(truth, scores, bins[c], np.ones((1, len(truth))))
        share, prevalence = counts[0] / len(truth), truth.mean()
        drawn = np.concatenate(shares[c])
        found[label] = Reliability(
            n=len(truth),
            predicted=tuple(predicted[0].tolist()),
            observed=tuple(observed[0].tolist()),
            counts=tuple(counts[0].astype(int).tolist()),
            observed_intervals=tuple(percentile_interval(drawn[:, b], groups) for b in range(drawn.shape[1])),
            ece=float(_ece(counts, predicted, observed)[0]),
            brier=float(((scores - truth) ** 2).mean()),
            ece_interval=percentile_interval(np.concatenate(errors[c]), groups),
            brier_interval=percentile_interval(np.concatenate(briers[c]), groups),
            miscalibration=float((share * (predicted[0] - observed[0]) ** 2).sum()),
            resolution=float((share * (observed[0] - prevalence) ** 2).sum()),
            uncertainty=float(prevalence * (1 - prevalence)),
        )
    return found


def assign_bins(probabilities: np.ndarray) -> np.ndarray:
    """Bin of each clip, 0 to at most `BINS` - 1: quantile bins, which unlike bins of equal width are never nearly empty."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, probabilities, side="right"), return_inverse=True)[1]


def _binned(truth: np.ndarray, scores: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, mean probability and share of positive clips of every bin, each [R, bins]; NaN where a bin has no weight."""
    member = (bins[:, None] == np.arange(bins.max() + 1)).astype(float)
    counts = weights @ member
    return counts, ratio(weights @ (member * scores[:, None]), counts), ratio(weights @ (member * truth[:, None]), counts)


def _ece(counts: np.ndarray, predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    return ratio(np.nansum(counts * np.abs(predicted - observed), axis=1), counts.sum(axis=1))

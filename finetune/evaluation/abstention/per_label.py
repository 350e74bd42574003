"""Leaving the doubtful clips to a person: an abstain band per label, and how the risk falls with the share that is decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.evaluation.intervals.bootstrap import Interval, count_groups, patient_weights, percentile_interval, ratio
from finetune.evaluation.thresholds.per_label import choose_thresholds

Band = tuple[float, float]


@dataclass(frozen=True)
class Abstention:
    """Of one label's n annotated clips.

    Attributes:
        band: (low, high) from all folds: absent below low, present from high on, undecided between; None where there are not two
            classes. With low = high nothing is undecided.
        kept: sensitivity that ``low`` and specificity that ``high`` keep on the clips that they were chosen on.
        n: annotated clips.
        coverage: share of clips that the other folds' band decides.
        risk: share of those that are decided wrongly; None where none is decided.
        full_risk: share that the single thresholds decide wrongly, with nothing left out.
        sensitivity: share of the positive clips that are not called absent.
        specificity: share of the negative clips that are not called present.
        intervals: 95 %, by the names above and ``area``.
        curve_coverage: the risk-coverage curve: share of clips that is decided, the surest first, ascending.
        curve_risk: share of those that is decided wrongly.
        area: under that curve; ``full_risk`` is what abstaining at random gives.
    """

    band: Band | None
    kept: float
    n: int
    coverage: float | None
    risk: float | None
    full_risk: float | None
    sensitivity: float | None
    specificity: float | None
    area: float | None
    intervals: dict[str, Interval]
    curve_coverage: np.ndarray
    curve_risk: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """Nested, JSON-safe, without the curve."""
        return {name: value for name, value in vars(self).items() if not name.startswith("curve_")}


def choose_bands(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], kept: float) -> list[Band | None]:
    """Of each label: low is the highest threshold with sensitivity of at least ``kept``, high the lowest with such a specificity.

    Where one threshold gives both, nothing needs to be left out: low and high meet midway.
    """
    low = choose_thresholds(targets, probabilities, labels, sensitivity=kept)
    # The specificity of a label is the sensitivity of its absence.
    high = choose_thresholds(1 - targets, 1 - probabilities, labels, sensitivity=kept)
    bands: list[Band | None] = []
    for label, below, mirrored in zip(labels, low.values, high.values, strict=True):
        # Absent up to and including 1 - mirrored, so present from the next number on.
        above = float(np.nextafter(1 - mirrored, 2))
        meeting = (below + above) / 2
        # Two numbers that differ by a rounding are one threshold.
        band = (below, above) if below < above - 1e-9 else (meeting, meeting)
        bands.append(None if label in low.defaulted else band)
    return bands


def abstention(
    targets: np.ndarray,
    probabilities: np.ndarray,
    fold: np.ndarray,
    thresholds: np.ndarray,
    group: np.ndarray,
    labels: Sequence[str],
    kept: float,
    resamples: int,
    seed: int,
) -> dict[str, Abstention]:
    """Judge every label's band, cross-fitted: the clips of a fold are decided by the band that the other folds give.

    Args:
        targets: [n, L] of 1, 0 or NaN (left out of that label).
        probabilities: [n, L].
        fold: [n].
        thresholds: [n, L], the threshold that decides each clip when nothing may be left out.
        group: [n], what the bootstrap draws; "" is never drawn.
        labels: names of the L labels.
        kept: share, see `choose_bands`.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    bands = choose_bands(targets, probabilities, labels, kept)
    low, high = np.full(targets.shape, np.nan), np.full(targets.shape, np.nan)
    for k in np.unique(fold):
        chosen = choose_bands(targets[fold != k], probabilities[fold != k], labels, kept)
        for column, band in enumerate(chosen):
            if band is not None:
                low[fold == k, column], high[fold == k, column] = band
    found = {}
    for column, label in enumerate(labels):
        rows = ~np.isnan(targets[:, column]) & ~np.isnan(low[:, column])
        truth, scores = targets[rows, column] == 1, probabilities[rows, column]
        if bands[column] is None or not truth.any() or truth.all():
            nothing = np.empty(0)
            found[label] = Abstention(None, kept, int(rows.sum()), None, None, None, None, None, None, {}, nothing, nothing)
            continue
        absent, present = scores < low[rows, column], scores >= high[rows, column]
        wrong = (scores >= thresholds[rows, column]) != truth
        order, ends = surest_first(_distance(scores, thresholds[rows, column]))
        of_label = group[rows]

        def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
            decided = absent | present  # noqa: B023
            return {
                "coverage": ratio(weights @ decided, weights.sum(axis=1)),
                "risk": ratio(weights @ ((absent & truth) | (present & ~truth)), weights @ decided),  # noqa: B023
                "full_risk": ratio(weights @ wrong, weights.sum(axis=1)),  # noqa: B023
                "sensitivity": ratio(weights @ (truth & ~absent), weights @ truth),  # noqa: B023
                "specificity": ratio(weights @ (~truth & ~present), weights @ ~truth),  # noqa: B023
                "area": area_under(wrong, order, ends, weights),  # noqa: B023
            }

        drawn = [figures(weights) for weights in patient_weights(of_label, resamples, seed)]
        groups = count_groups(of_label)
        values = {name: float(value[0]) for name, value in figures(np.ones((1, len(truth)))).items()}
        coverage, risk = risk_coverage(wrong, order, ends, np.ones((1, len(truth))))
        found[label] = Abstention(
            band=bands[column],
            kept=kept,
            n=int(rows.sum()),
            **{name: None if np.isnan(value) else value for name, value in values.items()},
            intervals={name: percentile_interval(np.concatenate([part[name] for part in drawn]), groups) for name in values},
            curve_coverage=coverage[0],
            curve_risk=risk[0],
        )
    return found


def _distance(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How far the logit of each clip is from the threshold's, [n]."""
    logit = [np.log(value) - np.log1p(-value) for value in (np.clip(scores, 1e-6, 1 - 1e-6), np.clip(thresholds, 1e-6, 1 - 1e-6))]
    distance: np.ndarray = np.abs(logit[0] - logit[1])
    return distance


def surest_first(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of the clips by ``confidence`` [n] (0 or above), descending, and the last place of each tie in it."""
    order = np.argsort(-confidence, kind="stable")
    return order, np.flatnonzero(np.diff(confidence[order], append=-1.0))


def risk_coverage(wrong: np.ndarray, order: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk, each [R, ties], when the clips up to each of ``ends`` in ``order`` are decided; ``weights`` [R, n].

    Reference:
        Geifman & El-Yaniv, "Selective classification for deep neural networks", 2017.
    """
    ordered = weights[:, order]
    decided, errors = np.cumsum(ordered, axis=1)[:, ends], np.cumsum(ordered * wrong[order], axis=1)[:, ends]
    return ratio(decided, decided[:, -1:]), ratio(errors, decided)


def area_under(wrong: np.ndarray, order: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean risk over the coverages of `risk_coverage`, [R]: each tie's risk times its share of the clips."""
    coverage, risk = risk_coverage(wrong, order, ends, weights)
    return np.nansum(np.diff(coverage, axis=1, prepend=0) * np.nan_to_num(risk), axis=1)

"""Leaving the doubtful clips to a person where classes exclude each other: a limit of the highest probability, and the risk above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.evaluation.abstention.per_label import area_under, risk_coverage, surest_first
from finetune.evaluation.intervals.bootstrap import Interval, count_groups, patient_weights, percentile_interval, ratio
from finetune.evaluation.thresholds.per_label import Thresholds
from finetune.tasks.base import Task


@dataclass(frozen=True)
class ClassAbstention:
    """Of the n clips whose class is known.

    Attributes:
        limit: of the highest probability, from all folds: a clip below it is not decided; None where no limit keeps ``kept``.
        kept: share of the decided clips that the limit keeps right, on the clips that it was chosen on.
        n: clips whose class is known.
        coverage: share of clips that the other folds' limit decides; None with one fold.
        risk: share of those that are decided wrongly; None where none is decided.
        full_risk: share that is decided wrongly with nothing left out.
        area: under the risk-coverage curve; ``full_risk`` is what abstaining at random gives.
        class_coverage: class -> share of its clips that is decided; a rare class may be left out altogether.
        intervals: 95 %, by the names above, and ``coverage_<class>``.
        curve_coverage: the risk-coverage curve: share of clips that is decided, those of the highest probability first, ascending.
        curve_risk: share of those that is decided wrongly.
    """

    limit: float | None
    kept: float
    n: int
    coverage: float | None
    risk: float | None
    full_risk: float | None
    area: float | None
    class_coverage: dict[str, float | None]
    intervals: dict[str, Interval]
    curve_coverage: np.ndarray
    curve_risk: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """Nested, JSON-safe, without the curve."""
        return {name: value for name, value in vars(self).items() if not name.startswith("curve_")}


def choose_limit(confidence: np.ndarray, wrong: np.ndarray, kept: float) -> float | None:
    """The limit that decides most clips of which at least ``kept`` are right; None where there is none.

    Limits lie midway between neighbouring confidences, or at 0, where nothing is left out.

    Args:
        confidence: highest probability of each clip, [n].
        wrong: whether the clip's decision is, bool [n].
        kept: share, more than 0 and up to 1.

    Reference:
        El-Yaniv & Wiener, "On the foundations of noise-free selective classification", 2010: coverage and selective risk; the limit is that
        of Geifman & El-Yaniv, "Selective classification for deep neural networks", 2017, without their bound on the true risk.
    """
    order, ends = surest_first(confidence)
    errors = np.cumsum(wrong[order])[ends]
    # A share like 0.9 of 10 clips is 9 of them, whatever the float says.
    enough = np.flatnonzero(ends + 1 - errors >= kept * (ends + 1) - 1e-9)
    if not len(enough):
        return None
    last = enough[-1]
    values = confidence[order][ends]
    return 0.0 if last + 1 == len(ends) else float((values[last] + values[last + 1]) / 2)


def limit_of(task: Task, targets: np.ndarray, probabilities: np.ndarray, thresholds: Thresholds, kept: float) -> float | None:
    """`choose_limit` of clips [n] whose decisions ``thresholds`` make; clips of unknown class do not count. See `class_abstention`."""
    known = ~np.isnan(targets).any(axis=1)
    wrong = task.decode(probabilities[known], thresholds.values).argmax(axis=1) != targets[known].argmax(axis=1)
    return choose_limit(probabilities[known].max(axis=1), wrong, kept)


def class_abstention(
    task: Task,
    targets: np.ndarray,
    probabilities: np.ndarray,
    fold: np.ndarray,
    thresholds: Thresholds,
    fold_thresholds: Mapping[int, Thresholds],
    group: np.ndarray,
    kept: float,
    resamples: int,
    seed: int,
) -> ClassAbstention:
    """Judge the limit, cross-fitted: the clips of a fold are decided by the limit, and the thresholds, that the other folds give.

    Args:
        task: whose classes exclude each other, and how they are decided.
        targets: [n, C], one-hot, or NaN where the class is unknown.
        probabilities: [n, C].
        fold: [n].
        thresholds: of all folds.
        fold_thresholds: fold -> those of the other folds.
        group: [n], what the bootstrap draws; "" is never drawn.
        kept: see `choose_limit`.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    known = ~np.isnan(targets).any(axis=1)
    truth, scores, fold, group = targets[known].argmax(axis=1), probabilities[known], fold[known], group[known]
    confidence = scores.max(axis=1)

    def wrong_by(chosen: Thresholds) -> np.ndarray:
        found: np.ndarray = task.decode(scores, chosen.values).argmax(axis=1) != truth
        return found

    wrong, limits = np.zeros(len(truth), bool), np.full(len(truth), np.inf)
    for k in np.unique(fold):
        by_others, own = wrong_by(fold_thresholds[int(k)]), fold == k
        wrong[own] = by_others[own]
        chosen = choose_limit(confidence[~own], by_others[~own], kept)
        limits[own] = np.inf if chosen is None else chosen
    decided = confidence >= limits
    order, ends = surest_first(confidence)
    cross_fitted = len(np.unique(fold)) > 1

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {"full_risk": ratio(weights @ wrong, weights.sum(axis=1)), "area": area_under(wrong, order, ends, weights)}
        if cross_fitted:
            found["coverage"] = ratio(weights @ decided, weights.sum(axis=1))
            found["risk"] = ratio(weights @ (decided & wrong), weights @ decided)
            for column, label in enumerate(task.labels):
                found[f"coverage_{label}"] = ratio(weights @ (decided & (truth == column)), weights @ (truth == column))
        return found

    drawn = [figures(weights) for weights in patient_weights(group, resamples, seed)]
    once = np.ones((1, len(truth)))
    values = {name: None if np.isnan(value[0]) else float(value[0]) for name, value in figures(once).items()}
    groups = count_groups(group)
    coverage, risk = risk_coverage(wrong, order, ends, once)
    return ClassAbstention(
        limit=limit_of(task, targets, probabilities, thresholds, kept),
        kept=kept,
        n=len(truth),
        **{name: values.get(name) for name in ("coverage", "risk", "full_risk", "area")},
        class_coverage={label: values.get(f"coverage_{label}") for label in task.labels},
        intervals={name: percentile_interval(np.concatenate([part[name] for part in drawn]), groups) for name in values},
        curve_coverage=coverage[0],
        curve_risk=risk[0],
    )

"""How far the figures could be off by the chance of which patients were there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.evaluation.intervals.bootstrap import Draws, Interval, count_groups, patient_weights, percentile_intervals, ratio
from finetune.evaluation.metrics.class_scores import MULTI_LABEL, ClassTask, class_draws
from finetune.evaluation.metrics.label_metrics import METRICS, weighted_auroc, weighted_average_precision


@dataclass(frozen=True)
class Intervals:
    """95 % intervals; None where there are fewer than two groups or most resamples lack a class.

    Attributes:
        figures: name of `finetune.evaluation.metrics.scores.Scores.flat` -> (low, high).
        resamples: how many were drawn.
        groups: how many patients (or recordings) were drawn from.
    """

    figures: dict[str, Interval]
    resamples: int
    groups: int

    @property
    def labels(self) -> dict[str, Interval]:
        """Label -> interval of its AUROC."""
        return {name.removeprefix("auroc_"): interval for name, interval in self.figures.items() if name.startswith("auroc_")}

    @property
    def macro(self) -> Interval:
        """Of the macro AUROC."""
        return self.figures["macro_auroc"]


def bootstrap_intervals(draws: Mapping[str, np.ndarray], group: np.ndarray) -> Intervals:
    """Percentile intervals of what `figure_draws` drew from ``group``."""
    groups = count_groups(group)
    return Intervals(percentile_intervals(draws, groups), len(draws["macro_auroc"]), groups)


def annotated_groups(targets: np.ndarray, group: np.ndarray) -> np.ndarray:
    """``group`` [n] with "" for clips without any annotated label, which are not drawn."""
    return np.where(np.isnan(targets).all(axis=1), "", group)


def figure_draws(
    targets: np.ndarray,
    scores: np.ndarray,
    decisions: np.ndarray,
    group: np.ndarray,
    labels: Sequence[str],
    scored: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    task: ClassTask = MULTI_LABEL,
) -> Draws:
    """Every figure of `finetune.evaluation.metrics.scores.Scores.flat` under each bootstrap resample of the groups.

    The resamples hold the models and the thresholds fixed; what another training run would change is not in them. A resample in
    which a label has one class only has no figures of that label.

    Args:
        targets: [n, L] of 1, 0 or NaN (left out of that label).
        scores: [n, L].
        decisions: [n, L] of 1 or 0.
        group: [n], the patient or recording of each clip; "" is never drawn.
        labels: names of the L labels.
        scored: the labels of macro figures and of the ICBHI Score.
        resamples: number of draws.
        seed: of the draws.
        task: what figures over classes there are, and which labels have no figures.

    Returns:
        Name -> [resamples], NaN where a resample does not give the figure.
    """
    averaged = [label for label in scored if label not in task.not_evaluable]
    parts: list[Draws] = []
    for weights in patient_weights(group, resamples, seed):
        drawn: Draws = {}
        for column, label in enumerate(labels):
            known = ~np.isnan(targets[:, column])
            of_label = _label_draws(targets[known, column] == 1, scores[known, column], decisions[known, column] == 1, weights[:, known])
            missing = np.nan if label in task.not_evaluable else 0.0
            drawn |= {f"{name}_{label}": values + missing for name, values in of_label.items()}
        for name in METRICS:
            values = [drawn[f"{name}_{label}"] for label in averaged]
            drawn[f"macro_{name}"] = np.mean(values, axis=0) if values else np.full(len(weights), np.nan)
        parts.append(drawn | class_draws(targets, decisions, weights, labels, scored, task))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _label_draws(truth: np.ndarray, scores: np.ndarray, decided: np.ndarray, weights: np.ndarray) -> Draws:
    positives, negatives = weights @ truth, weights @ ~truth
    true_positives, false_positives = weights @ (truth & decided), weights @ (~truth & decided)
    total = positives + negatives
    figures = {
        "auroc": weighted_auroc(truth, scores, weights),
        "average_precision": weighted_average_precision(truth, scores, weights),
        "precision": ratio(true_positives, true_positives + false_positives),
        "recall": ratio(true_positives, positives),
        "specificity": ratio(negatives - false_positives, negatives),
        "f1": ratio(2 * true_positives, true_positives + false_positives + positives),
        "accuracy": ratio(true_positives + negatives - false_positives, total),
    }
    one_class = (positives == 0) | (negatives == 0)
    return {name: np.where(one_class, np.nan, values) for name, values in figures.items()}

"""From out-of-fold predictions to everything that is reported: pooled, per fold, mean and standard deviation, intervals, thresholds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetune.evaluation.intervals import AurocIntervals, auroc_intervals
from finetune.evaluation.out_of_fold import OutOfFold, check_out_of_fold
from finetune.evaluation.scores import Scores, score
from finetune.evaluation.thresholds import Rule, Thresholds, choose_thresholds, cross_fitted_thresholds
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Evaluation:
    """What the out-of-fold predictions of a run are worth.

    Attributes:
        scored: labels of the macro figures.
        predictions: the checked table; n clips, L labels.
        decisions: int8 [n, L], each clip decided by the thresholds of the other folds, obeying the task's label rule.
        thresholds: from all clips; they go into the exported file.
        fold_thresholds: fold -> thresholds from the other folds; they made ``decisions``.
        pooled: all clips together. Ranks clips of different folds, hence of different models, against each other.
        folds: fold -> its clips alone.
        intervals: 95 % intervals of the pooled AUROCs.
    """

    scored: tuple[str, ...]
    predictions: OutOfFold
    decisions: np.ndarray
    thresholds: Thresholds
    fold_thresholds: dict[int, Thresholds]
    pooled: Scores
    folds: dict[int, Scores]
    intervals: AurocIntervals

    def spread(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Mean and standard deviation (ddof 1) over the folds of every figure of `Scores.flat`.

        A fold without a figure does not enter it; the mean is None without any fold, the deviation with fewer than two.
        """
        flat = [scores.flat() for scores in self.folds.values()]
        mean: dict[str, float | None] = {}
        deviation: dict[str, float | None] = {}
        for name in flat[0]:
            values = np.array([fold[name] for fold in flat if fold[name] is not None], dtype=float)
            mean[name] = float(values.mean()) if len(values) else None
            deviation[name] = float(values.std(ddof=1)) if len(values) > 1 else None
        return mean, deviation

    def notes(self) -> list[str]:
        """Sentences on what could not be computed and why: a figure that is missing must not look forgotten."""
        never = self.pooled.one_class()
        notes = [f"All folds: {label} has {missing}; its metrics are empty and its threshold is 0.5." for label, missing in never.items()]
        for fold, scores in self.folds.items():
            notes += [
                f"Fold {fold}: {label} has {missing}; its metrics are empty and not in the mean over folds."
                for label, missing in scores.one_class().items()
                if label not in never
            ]
        chosen = {"All folds give": self.thresholds} | {f"Fold {k}: the other folds give": t for k, t in self.fold_thresholds.items()}
        for where, thresholds in chosen.items():
            untold = [label for label in thresholds.defaulted if label not in never]
            if untold:
                notes.append(f"{where} no threshold for {', '.join(untold)}: 0.5 is used.")
        return notes

    def figures(self) -> dict[str, Any]:
        """The headline figures, JSON-safe: pooled unless the name says _mean or _sd (over folds) or _ci (95 % interval)."""
        mean, deviation = self.spread()
        pooled = self.pooled
        figures: dict[str, Any] = {
            "macro_auroc": pooled.macro["auroc"],
            "macro_auroc_mean": mean["macro_auroc"],
            "macro_auroc_sd": deviation["macro_auroc"],
            "macro_auroc_ci": _as_list(self.intervals.macro),
            "macro_average_precision": pooled.macro["average_precision"],
            "macro_f1": pooled.macro["f1"],
            "icbhi_score": pooled.icbhi.score,
            "icbhi_sensitivity": pooled.icbhi.sensitivity,
            "icbhi_specificity": pooled.icbhi.specificity,
        }
        for name in ("auroc", "average_precision", "recall", "specificity", "f1"):
            figures[name] = {label: metrics[name] for label, metrics in pooled.labels.items()}
        figures["auroc_ci"] = {label: _as_list(interval) for label, interval in self.intervals.labels.items()}
        return {**figures, "folds": len(self.folds), **self.predictions.counts()}

    def as_json(self) -> dict[str, Any]:
        """Everything, nested and JSON-safe: the content of metrics.json."""
        mean, deviation = self.spread()
        return {
            "scored": list(self.scored),
            "counts": self.predictions.counts(),
            "pooled": self.pooled.as_json(),
            "intervals": {
                "level": 0.95,
                "over": "patients" if self.predictions.counts()["patients"] is not None else "recordings",
                "groups": self.intervals.groups,
                "resamples": self.intervals.resamples,
                "macro_auroc": _as_list(self.intervals.macro),
                "auroc": {label: _as_list(interval) for label, interval in self.intervals.labels.items()},
            },
            "folds": {str(fold): scores.as_json() for fold, scores in self.folds.items()},
            "mean": mean,
            "sd": deviation,
            "thresholds": self.thresholds.as_json(),
            "fold_thresholds": {str(fold): thresholds.as_json() for fold, thresholds in self.fold_thresholds.items()},
            "notes": self.notes(),
        }

    def decided_table(self) -> pd.DataFrame:
        """The out-of-fold table with a column decided_<label> of 1 or 0 per label."""
        table = self.predictions.table.copy()
        for column, label in enumerate(self.predictions.labels):
            table[f"decided_{label}"] = self.decisions[:, column]
        return table


def evaluate(oof: pd.DataFrame, task: Task, rule: Rule = "youden", resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Evaluate out-of-fold predictions.

    Args:
        oof: see `finetune.evaluation.out_of_fold.check_out_of_fold`.
        task: whose labels, scored labels and decoding rule hold.
        rule: what thresholds maximise, "youden" or "f1".
        resamples: bootstrap draws of the intervals.
        seed: of the bootstrap.

    Raises:
        UserError: ``oof`` has a column missing, a value out of range or no annotated clip.
    """
    return evaluate_predictions(check_out_of_fold(oof, task.labels), task, rule, resamples, seed)


def evaluate_predictions(predictions: OutOfFold, task: Task, rule: Rule = "youden", resamples: int = 1000, seed: int = 0) -> Evaluation:
    """As `evaluate`, for a table that is already checked."""
    targets, probabilities, labels = predictions.targets, predictions.probabilities, predictions.labels
    fold_thresholds = cross_fitted_thresholds(targets, probabilities, predictions.fold, labels, rule)
    decisions = np.zeros(targets.shape, dtype=np.int8)
    for fold, thresholds in fold_thresholds.items():
        held_out = predictions.fold == fold
        decisions[held_out] = task.decode(probabilities[held_out], thresholds.values)

    def score_of(rows: np.ndarray) -> Scores:
        return score(targets[rows], probabilities[rows], decisions[rows], labels, task.scored)

    return Evaluation(
        scored=tuple(task.scored),
        predictions=predictions,
        decisions=decisions,
        thresholds=choose_thresholds(targets, probabilities, labels, rule),
        fold_thresholds=fold_thresholds,
        pooled=score_of(np.full(len(targets), True)),
        folds={fold: score_of(predictions.fold == fold) for fold in predictions.folds},
        intervals=auroc_intervals(targets, probabilities, predictions.group, labels, task.scored, resamples, seed),
    )


def per_fold_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row per fold, then "mean", "sd" and "pooled".

    Returns:
        Columns fold (str), clips, annotated_clips, patients, then every figure of `Scores.flat`, NaN where there is none.
    """
    mean, deviation = evaluation.spread()
    table = evaluation.predictions.table
    rows: list[dict[str, Any]] = []
    for fold, scores in evaluation.folds.items():
        of_fold = evaluation.predictions.fold == fold
        rows.append({"fold": str(fold), **_sizes(table[of_fold], scores), **scores.flat()})
    rows.append({"fold": "mean", **mean})
    rows.append({"fold": "sd", **deviation})
    rows.append({"fold": "pooled", **_sizes(table, evaluation.pooled), **evaluation.pooled.flat()})
    counts = ["clips", "annotated_clips", "patients"]
    result = pd.DataFrame(rows)
    result[counts] = result[counts].astype("Int64")
    figures = [name for name in result.columns if name != "fold" and name not in counts]
    result[figures] = result[figures].astype(float)
    return result[["fold", *counts, *figures]]


def _sizes(table: pd.DataFrame, scores: Scores) -> dict[str, int | None]:
    named = (table["patient"] != "").all()
    return {"clips": len(table), "annotated_clips": scores.clips, "patients": int(table["patient"].nunique()) if named else None}


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)

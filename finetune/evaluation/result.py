"""What the out-of-fold predictions of a run are worth, and what is said of it: figures, notes, metrics.json."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetune.evaluation.calibration.cross_fit import Calibration
from finetune.evaluation.intervals.bootstrap import Draws, Interval
from finetune.evaluation.intervals.of_figures import Intervals
from finetune.evaluation.metrics.class_scores import ClassTask
from finetune.evaluation.metrics.scores import Scores
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.thresholds.per_label import Thresholds
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Evaluation:
    """What the out-of-fold predictions of a run are worth.

    Attributes:
        task: whose labels are judged.
        not_evaluable: classes that these folds cannot judge -> why.
        predictions: the checked table; n clips, L labels.
        decisions: int8 [n, L], each clip decided by the thresholds of the other folds, obeying the task's label rule.
        thresholds: from all clips; they go into the exported file.
        fold_thresholds: fold -> thresholds from the other folds; they made ``decisions``.
        pooled: all clips together. Ranks clips of different folds, hence of different models, against each other.
        folds: fold -> its clips alone.
        intervals: 95 % intervals of the pooled figures.
        fold_intervals: fold -> those of its figures, over its own patients.
        mean_intervals: 95 % intervals of the means over folds, with patients drawn within their folds.
        calibration: what made ``predictions`` of the table that was given.
        draws: pooled figure -> its value in each resample.
    """

    task: Task
    not_evaluable: dict[str, str]
    predictions: OutOfFold
    decisions: np.ndarray
    thresholds: Thresholds
    fold_thresholds: dict[int, Thresholds]
    pooled: Scores
    folds: dict[int, Scores]
    intervals: Intervals
    fold_intervals: dict[int, Intervals]
    mean_intervals: dict[str, Interval]
    calibration: Calibration
    draws: Draws

    @property
    def scored(self) -> tuple[str, ...]:
        """Labels of the macro figures."""
        return tuple(label for label in self.task.scored if label not in self.not_evaluable)

    @property
    def classes(self) -> ClassTask:
        """What figures over decided classes there are, and what they are called."""
        return ClassTask.of(self.task, self.not_evaluable)

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
        notes = [
            f"{label} is not evaluable: {why}; its metrics are empty and means over classes leave it out."
            for label, why in self.not_evaluable.items()
        ]
        never = {label: missing for label, missing in self.pooled.one_class().items() if label not in self.not_evaluable}
        default = f"{self.task.undecided:.3g}"
        notes += [
            f"All folds: {label} has {missing}; its metrics are empty and its threshold is {default}." for label, missing in never.items()
        ]
        never |= self.not_evaluable
        # Of classes that exclude each other, average recall is over all; else the macro figures are over the scored labels.
        averaged = self.task.labels if self.task.one_of else self.scored
        with_means = " and the means over " + ("classes" if self.task.one_of else " and ".join(self.scored))
        for fold, scores in self.folds.items():
            notes += [
                f"Fold {fold}: {label} has {missing}; its metrics{with_means if label in averaged else ''} are empty in this fold "
                "and not in the mean over folds."
                for label, missing in scores.one_class().items()
                if label not in never
            ]
        notes += self.calibration.notes
        chosen = {"All folds give": self.thresholds} | {f"Fold {k}: the other folds give": t for k, t in self.fold_thresholds.items()}
        for where, thresholds in chosen.items():
            untold = [label for label in thresholds.defaulted if label not in never]
            if untold:
                notes.append(f"{where} no threshold for {', '.join(untold)}: {default} is used.")
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
            **pooled.classes.figures,
        }
        figures |= {f"{name}_ci": _as_list(self.intervals.figures[name]) for name in self.classes.headlines}
        for name in ("auroc", "average_precision", "recall", "specificity", "f1"):
            figures[name] = {label: metrics[name] for label, metrics in pooled.labels.items()}
        figures["auroc_ci"] = {label: _as_list(interval) for label, interval in self.intervals.labels.items()}
        return {**figures, "folds": len(self.folds), "calibration": self.calibration.choice, **self.predictions.counts()}

    def as_json(self) -> dict[str, Any]:
        """Everything, nested and JSON-safe: the content of metrics.json."""
        mean, deviation = self.spread()
        return {
            "scored": list(self.scored),
            "not_evaluable": self.not_evaluable,
            "counts": self.predictions.counts(),
            "pooled": self.pooled.as_json(),
            "intervals": {
                "level": 0.95,
                "over": "patients" if self.predictions.counts()["patients"] is not None else "recordings",
                "groups": self.intervals.groups,
                "resamples": self.intervals.resamples,
                "macro_auroc": _as_list(self.intervals.macro),
                "auroc": {label: _as_list(interval) for label, interval in self.intervals.labels.items()},
                "pooled": self.intervals.figures,
                "mean": self.mean_intervals,
                "folds": {str(fold): intervals.figures for fold, intervals in self.fold_intervals.items()},
            },
            "calibrated": self.calibration.choice,
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


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)

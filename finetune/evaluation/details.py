"""What a report adds to the figures: calibration before and after, abstaining, and groups of clips."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetune.evaluation.abstention.per_class import ClassAbstention, class_abstention
from finetune.evaluation.abstention.per_label import Abstention, abstention
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.calibration.cross_fit import calibrate, choices_of
from finetune.evaluation.calibration.reliability import Reliability, reliability
from finetune.evaluation.intervals.of_figures import annotated_groups
from finetune.evaluation.metrics.by_group import GroupAuroc, describing_columns, group_aurocs
from finetune.evaluation.metrics.label_metrics import auroc
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.result import Evaluation


@dataclass(frozen=True)
class Calibrated:
    """One way to calibrate, judged on the held-out clips.

    Attributes:
        reliability: label -> whether its probabilities mean what they say.
        auroc: label -> pooled AUROC, which moves only by how the folds are ranked against each other; None with one class.
    """

    reliability: dict[str, Reliability]
    auroc: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        return {"auroc": self.auroc, "labels": {label: found.as_json() for label, found in self.reliability.items()}}


@dataclass(frozen=True)
class Details:
    """Beside an `Evaluation`.

    Attributes:
        calibrations: choice -> its judgement; "none" first.
        abstentions: label -> abstain band and risk-coverage curve, of the evaluation's probabilities; empty with three or more classes
            that exclude each other, which are not decided one by one.
        class_abstention: limit of the highest probability and its risk-coverage curve, of such classes; else None.
        groups: AUROC by group.
    """

    calibrations: dict[Choice, Calibrated]
    abstentions: dict[str, Abstention]
    class_abstention: ClassAbstention | None
    groups: list[GroupAuroc]

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "calibration": {choice: found.as_json() for choice, found in self.calibrations.items()},
            "abstention": {label: found.as_json() for label, found in self.abstentions.items()},
            "class_abstention": None if self.class_abstention is None else self.class_abstention.as_json(),
            "groups": [found.as_json() for found in self.groups],
        }


def detail(
    raw: OutOfFold,
    evaluation: Evaluation,
    validation: dict[int, OutOfFold],
    manifest: pd.DataFrame | None,
    kept: float,
    resamples: int,
    seed: int,
) -> Details:
    """Judge what `Details` holds.

    Args:
        raw: out-of-fold predictions as the networks gave them.
        evaluation: of them, perhaps calibrated.
        validation: fold -> predictions of its validation clips, as far as there are some.
        manifest: the run's manifest; None where it is not there.
        kept: sensitivity and specificity that the abstain band keeps, or share of the decided clips that its limit keeps right.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    predictions = evaluation.predictions
    group = annotated_groups(predictions.targets, predictions.group)
    task = evaluation.task
    choices: list[Choice] = ["none"]
    if len(predictions.folds) > 1:
        choices += ["temperature", "platt", "isotonic"]
    if set(predictions.folds) <= set(validation):
        choices.append("fold_platt")
    choices = [choice for choice in choices if choice in choices_of(task.one_of)]
    calibrated = {choice: calibrate(raw, choice, validation, task.one_of).apply(raw) for choice in choices}
    # What calibrated a transferred run was fitted on other clips, and is not among these.
    calibrated.setdefault(evaluation.calibration.choice, predictions)
    calibrations = {
        choice: Calibrated(reliability(raw.targets, of.probabilities, group, raw.labels, resamples, seed), _aurocs(of))
        for choice, of in calibrated.items()
    }
    return Details(
        calibrations,
        *_abstentions(evaluation, group, kept, resamples, seed),
        group_aurocs(
            describing_columns(predictions.table, manifest),
            predictions.targets,
            predictions.probabilities,
            predictions.group,
            predictions.labels,
            resamples,
            seed,
        ),
    )


def _abstentions(
    evaluation: Evaluation, group: np.ndarray, kept: float, resamples: int, seed: int
) -> tuple[dict[str, Abstention], ClassAbstention | None]:
    """Label by label, or of three and more classes that exclude each other together."""
    task, predictions, of_folds = evaluation.task, evaluation.predictions, evaluation.fold_thresholds
    clips = (predictions.targets, predictions.probabilities, predictions.fold)
    if task.one_of and len(task.labels) > 2:
        return {}, class_abstention(task, *clips, evaluation.thresholds, of_folds, group, kept, resamples, seed)
    thresholds = pd.DataFrame({fold: chosen.values for fold, chosen in of_folds.items()})
    chosen = thresholds[predictions.fold].to_numpy().T
    return abstention(*clips, chosen, group, predictions.labels, kept, resamples, seed), None


def _aurocs(predictions: OutOfFold) -> dict[str, float | None]:
    areas = {}
    for column, label in enumerate(predictions.labels):
        known = ~pd.isna(predictions.targets[:, column])
        areas[label] = auroc(predictions.targets[known, column] == 1, predictions.probabilities[known, column])
    return areas

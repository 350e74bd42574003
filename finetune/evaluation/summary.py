"""From out-of-fold predictions to an `Evaluation`: calibrated, decided by the other folds' thresholds, scored, with intervals."""

import numpy as np
import pandas as pd

from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.calibration.cross_fit import calibrate
from finetune.evaluation.intervals.bootstrap import Draws, Interval, count_groups, percentile_intervals
from finetune.evaluation.intervals.of_figures import annotated_groups, bootstrap_intervals, figure_draws
from finetune.evaluation.metrics.class_scores import ClassTask
from finetune.evaluation.metrics.evaluable import not_evaluable
from finetune.evaluation.metrics.scores import Scores, score
from finetune.evaluation.out_of_fold import OutOfFold, check_out_of_fold
from finetune.evaluation.result import Evaluation
from finetune.evaluation.thresholds.per_label import Rule
from finetune.evaluation.thresholds.per_task import task_thresholds
from finetune.tasks.base import Task


def evaluate(
    oof: pd.DataFrame,
    task: Task,
    rule: Rule | None = None,
    resamples: int = 1000,
    seed: int = 0,
    sensitivity: float | None = None,
    calibration: Choice = "none",
    by_fold: bool = True,
) -> Evaluation:
    """Evaluate out-of-fold predictions.

    Args:
        oof: see `finetune.evaluation.out_of_fold.check_out_of_fold`.
        task: whose labels, scored labels and decoding rule hold.
        rule: how thresholds are chosen; by default the task's, see `finetune.evaluation.thresholds.per_task.task_thresholds`.
        resamples: bootstrap draws of the intervals.
        seed: of the bootstrap.
        sensitivity: that thresholds keep, in place of the rule.
        calibration: of the probabilities, before thresholds are chosen and anything is judged.
        by_fold: whether each fold is judged by itself too, which takes as long again.

    Raises:
        UserError: ``oof`` has a column missing, a value out of range or no annotated clip.
    """
    predictions = check_out_of_fold(oof, task.labels, poor_quality_counts=task.poor_quality_counts)
    return evaluate_predictions(predictions, task, rule, resamples, seed, sensitivity, calibration, by_fold=by_fold)


def evaluate_predictions(
    predictions: OutOfFold,
    task: Task,
    rule: Rule | None = None,
    resamples: int = 1000,
    seed: int = 0,
    sensitivity: float | None = None,
    calibration: Choice = "none",
    validation: dict[int, OutOfFold] | None = None,
    development: OutOfFold | None = None,
    by_fold: bool = True,
) -> Evaluation:
    """As `evaluate`, for a table that is already checked; ``validation`` is what "fold_platt" is fitted on, see `calibrate`.

    All thresholds come from ``development`` where it is given: predictions of clips that are not judged here. There is no other fold to
    choose a single fold's thresholds on, so they come from its validation clips, calibrated as its held-out ones are.
    """
    calibrators = calibrate(predictions, calibration, validation, one_of=task.one_of)
    predictions = calibrators.apply(predictions)
    if development is None and len(predictions.folds) == 1:
        own = (validation or {}).get(predictions.folds[0])
        development = own and calibrators.apply(own)
    targets, probabilities, labels = predictions.targets, predictions.probabilities, predictions.labels
    group = annotated_groups(targets, predictions.group)
    thresholds, fold_thresholds = task_thresholds(task, targets, probabilities, predictions.fold, rule, sensitivity)
    if development is not None:
        chosen_on = (development.targets, development.probabilities, development.fold)
        thresholds = task_thresholds(task, *chosen_on, rule, sensitivity)[0]
        fold_thresholds = dict.fromkeys(predictions.folds, thresholds)
    unjudged = not_evaluable(predictions, task)
    classes = ClassTask.of(task, unjudged)
    decisions = np.zeros(targets.shape, dtype=np.int8)
    for fold, of_fold in fold_thresholds.items():
        held_out = predictions.fold == fold
        decisions[held_out] = task.decode(probabilities[held_out], of_fold.values)
    rows_of = {fold: predictions.fold == fold for fold in predictions.folds if by_fold}
    everything = np.full(len(targets), True)

    def score_of(rows: np.ndarray) -> Scores:
        return score(targets[rows], probabilities[rows], decisions[rows], labels, task.scored, classes)

    def draws_of(rows: np.ndarray, seed: int) -> Draws:
        drawn_from = (targets[rows], probabilities[rows], decisions[rows], group[rows])
        return figure_draws(*drawn_from, labels, task.scored, resamples, seed, classes)

    draws = draws_of(everything, seed)
    # Each fold with its own seed: its patients are drawn independently of the other folds'.
    of_folds = {fold: draws_of(rows, seed + 1 + fold) for fold, rows in rows_of.items()}
    return Evaluation(
        task=task,
        not_evaluable=unjudged,
        predictions=predictions,
        decisions=decisions,
        thresholds=thresholds,
        fold_thresholds=fold_thresholds,
        pooled=score_of(everything),
        folds={fold: score_of(rows) for fold, rows in rows_of.items()},
        intervals=bootstrap_intervals(draws, group),
        fold_intervals={fold: bootstrap_intervals(of_folds[fold], group[rows]) for fold, rows in rows_of.items()},
        mean_intervals=_mean_intervals(list(of_folds.values()), group),
        calibration=calibrators,
        draws=draws,
    )


def _mean_intervals(of_folds: list[Draws], group: np.ndarray) -> dict[str, Interval]:
    """Of the mean over the folds, of those that have the figure in most resamples, as `Evaluation.spread` leaves out those that lack it."""
    means = {}
    for name in of_folds[0] if of_folds else ():
        defined = [draws[name] for draws in of_folds if 2 * np.isnan(draws[name]).sum() < len(draws[name])]
        means[name] = np.mean(defined, axis=0) if defined else np.full(len(of_folds[0][name]), np.nan)
    return percentile_intervals(means, count_groups(group))

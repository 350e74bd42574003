"""How far both readings of the epoch, and their difference, could be off by the chance of which patients were held out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from finetune.evaluation.epochs.best_epoch import EpochChoice, decided_alike
from finetune.evaluation.intervals.bootstrap import Draws, Interval, count_groups, percentile_interval
from finetune.evaluation.intervals.of_figures import annotated_groups, figure_draws
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.tasks.base import Task


@dataclass(frozen=True)
class EpochIntervals:
    """95 % intervals over patients; None where a figure is not defined.

    Attributes:
        chosen: at the epoch that the validation clips chose.
        best: at the epoch that is best on the held-out clips.
        difference: best less chosen, both on the same draws, so that what makes a patient hard for both cancels.
    """

    chosen: Interval
    best: Interval
    difference: Interval


def epoch_intervals(
    choices: Mapping[str, EpochChoice], folds: Mapping[int, Mapping[int, OutOfFold]], task: Task, resamples: int, seed: int
) -> dict[str, EpochIntervals]:
    """Bootstrap the figures of ``choices``, with patients drawn within their folds.

    The networks and both epochs are held fixed: what choosing the best epoch again on other patients would give is not in the intervals.

    Args:
        choices: figure -> both choices, of `finetune.evaluation.epochs.best_epoch.compare_epochs`.
        folds: fold -> epoch -> its held-out predictions, in the order of the choices' epochs.
        task: whose figures these are.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    groups = {fold: _groups(of_fold) for fold, of_fold in folds.items()}
    count = count_groups(np.concatenate(list(groups.values())))
    done: dict[tuple[int, int], Draws] = {}

    def draws_of(fold: int, epoch: int) -> Draws:
        if (fold, epoch) not in done:
            # Each fold with its own seed, and all epochs of a fold with the same one: the same patients are drawn for both readings.
            done[fold, epoch] = _draws(folds[fold][epoch], groups[fold], task, resamples, seed + 1 + fold)
        return done[fold, epoch]

    found = {}
    for name, choice in choices.items():
        if choice.chosen is None or choice.best is None:
            found[name] = EpochIntervals(None, None, None)
            continue
        chosen, best = (_mean(name, folds, epochs, draws_of) for epochs in (choice.chosen_epochs, choice.best_epochs))
        found[name] = EpochIntervals(*(percentile_interval(values, count) for values in (chosen, best, best - chosen)))
    return found


def _groups(of_fold: Mapping[int, OutOfFold]) -> np.ndarray:
    one = next(iter(of_fold.values()))
    return annotated_groups(one.targets, one.group)


def _draws(predictions: OutOfFold, group: np.ndarray, task: Task, resamples: int, seed: int) -> Draws:
    decisions, classes = decided_alike(predictions, task)
    drawn_from = (predictions.targets, predictions.probabilities, decisions, group)
    return figure_draws(*drawn_from, task.labels, task.scored, resamples, seed, classes)


def _mean(name: str, folds: Mapping[int, object], epochs: tuple[int, ...], draws_of: Callable[[int, int], Draws]) -> np.ndarray:
    """Mean over the folds of a figure's draws, each fold at its own of ``epochs``, [resamples]."""
    of_folds = [draws_of(fold, epoch)[name] for fold, epoch in zip(folds, epochs, strict=True)]
    mean: np.ndarray = np.mean(of_folds, axis=0)
    return mean

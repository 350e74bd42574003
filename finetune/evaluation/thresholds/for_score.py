"""Thresholds of classes that exclude each other, chosen for the challenge's score itself.

A challenge's score is the mean of how many normal clips and how many others are given their exact class, whatever their numbers, and the
most probable class does not maximise it: the balance between normal and the rest has to be found.
"""

import numpy as np

from finetune.evaluation.metrics.class_scores import TITLES, ClassTask, class_figures, ordered
from finetune.tasks.base import ClassScore, Task

# Logarithms of a class's threshold that are tried against the others, and how often all classes take their turn.
STEPS = np.linspace(-3, 3, 121)
TURNS = 4
# Steps whose score is this near to the best are as good as it: their middle is less a matter of single clips than the best one.
AS_GOOD = 0.002


def challenge_of(task: Task) -> ClassScore | None:
    """The challenge whose score the task reports first; None where classes do not exclude each other or it reports none."""
    challenges = [family for family in task.class_scores if family != "recall"]
    return challenges[0] if task.one_of and task.normal is not None and challenges else None


def score_thresholds(targets: np.ndarray, probabilities: np.ndarray, task: Task, normal_alone: bool = False) -> tuple[float, ...] | None:
    """The thresholds whose quotients decide with the largest score of `challenge_of`: coordinate ascent on their logarithms.

    The score depends on two shares, of the normal clips and of all others that are given their exact class. Whatever it weighs them by,
    true probabilities are decided best by the most probable of the other classes unless normal is so many times as probable: by one
    number. Thresholds of all classes can mend probabilities that lean to some of them as well, and fit chance with what they are free in.

    Args:
        targets: [n, C], one-hot, or NaN throughout (left out).
        probabilities: [n, C].
        task: with a challenge.
        normal_alone: all but the normal class have the same threshold.

    Returns:
        C numbers that sum to 1, of which only the proportions matter; None where no clip is normal, or none is not.
    """
    columns = ordered(task.labels, task.normal)
    known = ~np.isnan(targets).any(axis=1)
    true = targets[known][:, columns].argmax(axis=1)
    if not known.any() or (true == 0).all() or (true > 0).all():
        return None
    logs = np.log(np.maximum(probabilities[known][:, columns], 1e-12))
    offset = np.zeros(len(columns))
    for _ in range(TURNS):
        before = offset.copy()
        for index in range(1 if normal_alone else len(columns)):
            offset[index] = _best_step(logs + np.where(np.arange(len(columns)) == index, 0.0, offset), true, index, task)
        if np.array_equal(before, offset):
            break
    # A class gains by what its threshold loses.
    thresholds = np.exp(-offset) / np.exp(-offset).sum()
    return tuple(float(thresholds[columns.index(column)]) for column in range(len(columns)))


def _best_step(logs: np.ndarray, true: np.ndarray, index: int, task: Task) -> float:
    """Of `STEPS` added to class ``index`` of ``logs`` [n, C], the middle of the run around the best of those as good as it."""
    others = logs.copy()
    others[:, index] = -np.inf
    second = others.argmax(axis=1)
    decided = np.where(logs[:, index] + STEPS[:, None] > others.max(axis=1), index, second)
    normal, exact = true == 0, decided == true
    sides = np.array([[normal.sum(), (~normal).sum()]] * len(STEPS), dtype=float)
    correct = np.column_stack([(exact & normal).sum(axis=1), (exact & ~normal).sum(axis=1)]).astype(float)
    family = challenge_of(task)
    assert family is not None
    figures = class_figures(sides, np.full(sides.shape, np.nan), correct, np.array([True, True]), ClassTask((family,), False, task.normal))
    score = figures[next(iter(TITLES[family]))]
    best = first = last = int(score.argmax())
    good = score >= score[best] - AS_GOOD
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(STEPS) - 1 and good[last + 1]:
        last += 1
    return float(STEPS[first : last + 1].mean())

"""Which classes a cross-validation can judge at all: those of which every fold could hold out a patient."""

import numpy as np

from finetune.evaluation.intervals.bootstrap import count_groups
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.tasks.base import Task


def not_evaluable(predictions: OutOfFold, task: Task) -> dict[str, str]:
    """Classes with clips of fewer patients than there are folds, or whose other classes together have -> how many, in words.

    Some fold then holds none of them out, or trains on none, and a mean that leaves the fold away rests on one or two people. What
    a multi-label task scores is judged wherever both values occur, its labels being there in most patients.

    Args:
        predictions: out of fold.
        task: whose classes are judged.
    """
    if not task.one_of:
        return {}
    found = {}
    for column, label in enumerate(task.labels):
        # What a class is told from must be there as well: two classes are judged both or neither.
        for value, whose in ((1, ""), (0, "all other classes have ")):
            too_few = _too_few(predictions, predictions.targets[:, column] == value)
            if too_few is not None:
                found[label] = whose + too_few
                break
    return found


def _too_few(predictions: OutOfFold, chosen: np.ndarray) -> str | None:
    """The number of the chosen clips and of their patients, in words, where these are fewer than the folds."""
    groups, clips = count_groups(predictions.group[chosen]), int(np.count_nonzero(chosen))
    if groups >= len(predictions.folds):
        return None
    unit = ("recording" if predictions.counts()["patients"] is None else "patient") + ("" if groups == 1 else "s")
    return f"{clips} clip{'' if clips == 1 else 's'} of {groups} {unit}, fewer than the {len(predictions.folds)} folds"

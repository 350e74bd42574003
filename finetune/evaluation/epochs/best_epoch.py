"""The best epoch on the held-out clips beside the one that the validation clips chose: what choosing on the test set adds.

Much published work, on ICBHI's official split above all, reports the former. Here it chooses nothing and is only shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finetune.evaluation.metrics.class_scores import TITLES, ClassTask
from finetune.evaluation.metrics.evaluable import not_evaluable
from finetune.evaluation.metrics.scores import score
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.tasks.base import Task

HELD_OUT_EPOCHS = "held_out_epochs.csv"


@dataclass(frozen=True)
class EpochChoice:
    """One figure by both choices of the epoch, mean over the folds.

    Attributes:
        title: what the figure is called.
        chosen: at the epoch that the validation clips chose, None where it is not defined.
        best: at the epoch that is best on the held-out clips: by this figure, or by the headline of its family (SE and SP: by the score).
        chosen_epochs: of each fold, from 0.
        best_epochs: of each fold, from 0.
    """

    title: str
    chosen: float | None
    best: float | None
    chosen_epochs: tuple[int, ...]
    best_epochs: tuple[int, ...]

    @property
    def difference(self) -> float | None:
        """Best less chosen: what choosing by the held-out clips adds."""
        return None if self.best is None or self.chosen is None else self.best - self.chosen


def epoch_figures(predictions: OutOfFold, task: Task) -> dict[str, float | None]:
    """Every figure of `finetune.evaluation.metrics.scores.Scores.flat` of one epoch's held-out predictions.

    Decided as published work does, by nothing that is chosen: 0.5 for each label, or the most probable class.
    """
    decisions, classes = decided_alike(predictions, task)
    return score(predictions.targets, predictions.probabilities, decisions, task.labels, task.scored, classes).flat()


def decided_alike(predictions: OutOfFold, task: Task) -> tuple[np.ndarray, ClassTask]:
    """Decisions int8 [n, L] by `Task.undecided`, and what figures over classes there are."""
    decisions = task.decode(predictions.probabilities, [task.undecided] * len(task.labels))
    return decisions, ClassTask.of(task, not_evaluable(predictions, task))


def compare_epochs(epochs: Mapping[int, pd.DataFrame], chosen: Mapping[int, int], task: Task) -> dict[str, EpochChoice]:
    """Macro AUROC and the figures over decided classes, by both choices.

    Args:
        epochs: fold -> a row per epoch: epoch and the figures of `epoch_figures`, NaN where there is none.
        chosen: fold -> the epoch that its validation clips chose.
        task: whose figures these are.

    Returns:
        Figure -> both. The first of equally good epochs is the best; a figure that some fold lacks is None.
    """
    families = [{"macro_auroc": "Macro AUROC"}, *(TITLES[family] for family in task.class_scores)]
    found = {}
    of_fold = {fold: table.set_index("epoch").sort_index() for fold, table in epochs.items()}
    for family in families:
        headline = next(iter(family))
        defined = all(table[headline].notna().any() for table in of_fold.values())
        best = {fold: int(table.index[int(table[headline].argmax())]) for fold, table in of_fold.items()} if defined else dict(chosen)
        for name, title in family.items():
            found[name] = EpochChoice(
                title,
                chosen=_mean(of_fold, chosen, name),
                best=_mean(of_fold, best, name),
                chosen_epochs=tuple(chosen[fold] for fold in of_fold),
                best_epochs=tuple(best[fold] for fold in of_fold),
            )
    return found


def _mean(of_fold: Mapping[int, pd.DataFrame], epoch: Mapping[int, int], name: str) -> float | None:
    values = pd.Series([table[name].get(epoch[fold]) for fold, table in of_fold.items()], dtype=float)
    return None if values.isna().any() else float(values.mean())

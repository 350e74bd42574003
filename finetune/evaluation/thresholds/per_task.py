"""Thresholds as the task decodes them: label by label, or in proportion where classes exclude each other."""

from dataclasses import replace

import numpy as np

from common.errors import UserError
from finetune.evaluation.thresholds.for_score import challenge_of, score_thresholds
from finetune.evaluation.thresholds.per_label import Rule, Thresholds, choose_thresholds, cross_fitted_thresholds
from finetune.tasks.base import Task


def task_thresholds(
    task: Task,
    targets: np.ndarray,
    probabilities: np.ndarray,
    fold: np.ndarray,
    rule: Rule | None = None,
    sensitivity: float | None = None,
) -> tuple[Thresholds, dict[int, Thresholds]]:
    """Choose a task's thresholds: those of all clips, and for each fold those that the clips of the other folds give.

    Where classes exclude each other the default is the same threshold for all, 1 / C, so that the most probable class is decided, as
    published work does. "youden" and "f1" choose each class's threshold against the rest, which shifts decisions towards rare
    classes. Of two classes of which one is normal the other's threshold is chosen, and the normal one's is what it leaves to 1, so that
    the quotients decide exactly as that one threshold. "score" chooses all of them together for the score of the task's challenge,
    "normal" that of the normal class against one for all others.

    Args:
        task: whose labels are decided.
        targets: [n, L] of 1, 0 or NaN.
        probabilities: [n, L].
        fold: int [n].
        rule: "youden", "f1", "equal", "score" or "normal"; by default "equal" where classes exclude each other, else "youden".
        sensitivity: share of positive clips to find at least, in place of the rule.

    Raises:
        UserError: a sensitivity is asked for where more than one class could have it, or a score where the task has none.
    """
    two_sided = task.one_of and len(task.labels) == 2 and task.normal is not None
    if sensitivity is not None and task.one_of and not two_sided:
        raise UserError(
            f"A sensitivity of {sensitivity:g} is that of one label, but of {', '.join(task.labels)} a clip has exactly one, and no "
            "threshold of one class keeps it for the others: leave --sensitivity out, or train two classes of which one is normal."
        )
    chosen_by = rule or ("equal" if task.one_of else "youden")

    if chosen_by in ("score", "normal") and sensitivity is None:
        return _for_score(task, targets, probabilities, fold, chosen_by)

    def decodable(chosen: Thresholds) -> Thresholds:
        if not two_sided:
            return chosen
        normal = task.labels.index(str(task.normal))
        kept = chosen.values[1 - normal]
        return replace(chosen, values=tuple(1 - kept if column == normal else kept for column in range(2)))

    settings = (chosen_by, sensitivity, task.undecided)
    others = cross_fitted_thresholds(targets, probabilities, fold, task.labels, *settings)
    everything = choose_thresholds(targets, probabilities, task.labels, *settings)
    return decodable(everything), {k: decodable(chosen) for k, chosen in others.items()}


def _for_score(
    task: Task, targets: np.ndarray, probabilities: np.ndarray, fold: np.ndarray, rule: Rule
) -> tuple[Thresholds, dict[int, Thresholds]]:
    if challenge_of(task) is None:
        raise UserError(
            f"--thresholds {rule} chooses for the score of a challenge over classes of which one is normal, and the task of "
            f"{', '.join(task.labels)} has none: choose youden, f1 or equal."
        )

    def choose(rows: np.ndarray) -> Thresholds:
        found = score_thresholds(targets[rows], probabilities[rows], task, normal_alone=rule == "normal")
        defaulted = () if found is not None else task.labels
        return Thresholds(task.labels, found or (task.undecided,) * len(task.labels), rule, defaulted)

    return choose(np.full(len(fold), True)), {int(k): choose(fold != k) for k in np.unique(fold)}

"""Figures over decided classes, of which every clip has exactly one: challenge scores, average recall, accuracy.

One formula serves the clips as they are and every bootstrap resample of them: all figures come from three counts per class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.evaluation.intervals.bootstrap import Draws, ratio
from finetune.evaluation.metrics.icbhi_score import icbhi_score
from finetune.tasks.base import ClassScore, Task

TITLES: dict[ClassScore, dict[str, str]] = {
    "icbhi": {"icbhi_score": "ICBHI Score", "icbhi_sensitivity": "SE", "icbhi_specificity": "SP"},
    "sprsound": {
        "sprsound_score": "SPRSound Score",
        "sprsound_average_score": "Average score",
        "sprsound_harmonic_score": "Harmonic score",
        "sprsound_sensitivity": "SE",
        "sprsound_specificity": "SP",
    },
    "recall": {"uar": "Unweighted average recall", "accuracy": "Accuracy", "macro_f1_all": "Macro F1, all classes"},
}
"""Family -> its figures, the headline first, and what they are called."""


@dataclass(frozen=True)
class ClassScores:
    """What the decided classes of n clips are worth.

    Attributes:
        classes: names of the C classes; the normal one first where there is one.
        confusion: int64 [C, C], true class by decided class, in clips.
        figures: name of `TITLES` -> figure, None where the clips cannot give it; only those of the task.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    figures: dict[str, float | None]

    @property
    def n(self) -> int:
        """Clips whose class is known."""
        return int(self.confusion.sum())

    def as_json(self) -> dict[str, object]:
        return {**self.figures, "clips": self.n, "classes": list(self.classes), "confusion": self.confusion.tolist()}


@dataclass(frozen=True)
class ClassTask:
    """What a task says of its classes, as far as figures depend on it.

    Attributes:
        families: figures to compute.
        one_of: labels are the classes; else a class is the set of the scored labels that a clip has, none of them being normal.
        normal: name of the class of which SP is the recall; None where there is none.
        not_evaluable: classes that average recall and F1 leave out.
    """

    families: tuple[ClassScore, ...]
    one_of: bool
    normal: str | None
    not_evaluable: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Task, not_evaluable: Iterable[str] = ()) -> "ClassTask":
        return cls(task.class_scores, task.one_of, task.normal, tuple(not_evaluable))

    @property
    def titles(self) -> dict[str, str]:
        """Figure -> what it is called."""
        return {name: title for family in self.families for name, title in TITLES[family].items()}

    @property
    def headlines(self) -> dict[str, str]:
        """The first figure of each family -> what it is called."""
        return dict(next(iter(TITLES[family].items())) for family in self.families)


MULTI_LABEL = ClassTask(("icbhi",), False, "normal")


def class_scores(
    targets: np.ndarray, decisions: np.ndarray, labels: Sequence[str], scored: Sequence[str], task: ClassTask = MULTI_LABEL
) -> ClassScores:
    """Count true against decided classes and compute the figures.

    Args:
        targets: [n, L] of 1, 0 or NaN; a clip with a NaN in a scored label is left out, its class being unknown.
        decisions: [n, L] of 1 or 0.
        labels: names of the L labels.
        scored: labels of which sets are classes; with ``one_of`` all labels are, whatever is scored.
        task: what the figures are.
    """
    if task.one_of:
        columns = ordered(labels, task.normal)
        known = ~np.isnan(targets).any(axis=1)
        true, decided = targets[known][:, columns].argmax(axis=1), np.asarray(decisions)[known][:, columns].argmax(axis=1)
        classes = tuple(labels[column] for column in columns)
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, (true, decided), 1)
    else:
        columns = [list(labels).index(label) for label in scored]
        counted = icbhi_score(targets[:, columns], decisions[:, columns], scored)
        classes, confusion = counted.classes, counted.confusion
    support, decided_for, correct = (
        counts[None].astype(float) for counts in (confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal())
    )
    drawn = class_figures(support, decided_for, correct, _evaluable(classes, task), task)
    return ClassScores(classes, confusion, {name: None if np.isnan(values[0]) else float(values[0]) for name, values in drawn.items()})


def class_draws(
    targets: np.ndarray, decisions: np.ndarray, weights: np.ndarray, labels: Sequence[str], scored: Sequence[str], task: ClassTask
) -> Draws:
    """As the figures of `class_scores` under many weightings ``weights`` [R, n] of the same clips: name -> [R], NaN for None."""
    if task.one_of:
        columns = ordered(labels, task.normal)
        known = ~np.isnan(targets).any(axis=1)
        true, decided = targets[:, columns] == 1, np.asarray(decisions)[:, columns] == 1
        counts = weights @ (true & known[:, None]), weights @ (decided & known[:, None]), weights @ (true & decided & known[:, None])
        return class_figures(*counts, _evaluable([labels[column] for column in columns], task), task)
    columns = [list(labels).index(label) for label in scored]
    targets, decisions = targets[:, columns], np.asarray(decisions)[:, columns]
    known = ~np.isnan(targets).any(axis=1)
    # The figures of sets of labels need no more than normal against the rest: the 2^A classes need not be told apart.
    normal = known & (targets == 0).all(axis=1)
    exact = known & (targets == decisions).all(axis=1)
    sides = np.column_stack([normal, known & ~normal])
    counts = weights @ sides, np.full((len(weights), 2), np.nan), weights @ (sides & exact[:, None])
    return class_figures(*counts, np.array([True, True]), task)


def class_figures(support: np.ndarray, decided: np.ndarray, correct: np.ndarray, evaluable: np.ndarray, task: ClassTask) -> Draws:
    """The figures of ``task``.

    SE is the share of all clips of the other classes that are given their *exact* class; SP the share of the normal clips that are
    decided normal. The two challenges agree on them, and differ in what is made of them:

    - ICBHI Score = (SE + SP) / 2.
    - SPRSound: AS = (SE + SP) / 2, HS = 2 SE SP / (SE + SP), Score = (AS + HS) / 2. HS is 0 where both are 0. SE counts every other
      class, Poor Quality among them. A scorer in public use (a PyTorch ``metric.py`` for tasks 2-1 and 2-2) takes only adventitious
      records into SE, leaving Poor Quality out, averages over batches, and is NaN where SE and SP are both 0: its figures differ.

    Shares of clips (SE, SP, accuracy) count every clip. Unweighted average recall (Schuller et al. 2009; scikit-learn's balanced
    accuracy) and macro F1 are means over all evaluable classes, normal among them, undefined where one has no clip, and where fewer
    than two are evaluable: the recall of one class alone is 1 for whoever always decides it.

    Args:
        support: [R, C], clips of each class; the normal one first where there is one.
        decided: [R, C], clips decided for each class.
        correct: [R, C], clips of each class decided for it.
        evaluable: bool [C], classes of the means.
        task: which figures, and whether there is a normal class.

    Returns:
        Name of `TITLES` -> [R], NaN where undefined.

    Reference:
        Rocha et al., "An open access database for the evaluation of respiratory sound classification algorithms", Physiological
        Measurement 40, 2019. Zhang et al., "Grand Challenge on Respiratory Sound Classification", IEEE BioCAS, 2022.
    """
    specificity = ratio(correct[:, 0], support[:, 0])
    sensitivity = ratio(correct[:, 1:].sum(axis=1), support[:, 1:].sum(axis=1))
    average = (sensitivity + specificity) / 2
    product, total = 2 * sensitivity * specificity, sensitivity + specificity
    harmonic = np.divide(product, total, out=product.copy(), where=total > 0)
    recall = ratio(correct, support)[:, evaluable]
    # 2 correct / (decided + support), which is defined wherever the class has a clip.
    f1 = np.where(support > 0, ratio(2 * correct, decided + support), np.nan)[:, evaluable]
    figures = {
        "icbhi": (average, sensitivity, specificity),
        "sprsound": ((average + harmonic) / 2, average, harmonic, sensitivity, specificity),
        "recall": (_mean(recall), ratio(correct.sum(axis=1), support.sum(axis=1)), _mean(f1)),
    }
    return {name: values for family in task.families for name, values in zip(TITLES[family], figures[family], strict=True)}


def ordered(labels: Sequence[str], normal: str | None) -> list[int]:
    """Columns of the labels with the normal one first."""
    return sorted(range(len(labels)), key=lambda column: labels[column] != normal)


def _evaluable(classes: Sequence[str], task: ClassTask) -> np.ndarray:
    return np.array([name not in task.not_evaluable for name in classes])


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1) if values.shape[1] > 1 else np.full(len(values), np.nan)

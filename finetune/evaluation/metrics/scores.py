"""All metrics of one set of clips: the pooled out-of-fold clips, or one fold's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.evaluation.metrics.class_scores import MULTI_LABEL, ClassScores, ClassTask, class_scores
from finetune.evaluation.metrics.label_metrics import METRICS, LabelMetrics, label_metrics, macro_metrics
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Scores:
    """Metrics of a set of clips.

    Attributes:
        clips: clips with at least one annotated label.
        labels: label -> `label_metrics`.
        macro: metric -> mean over the scored labels that can be evaluated, None where one of them has none.
        classes: figures over decided classes, and their confusion.
    """

    clips: int
    labels: dict[str, LabelMetrics]
    macro: dict[str, float | None]
    classes: ClassScores

    def one_class(self) -> dict[str, str]:
        """Labels that these clips cannot judge -> what is missing, in words."""
        missing = {}
        for label, metrics in self.labels.items():
            if not metrics["n"]:
                missing[label] = "no annotated clip"
            elif not metrics["positives"]:
                missing[label] = "no positive clip"
            elif metrics["positives"] == metrics["n"]:
                missing[label] = "no negative clip"
        return missing

    def flat(self) -> dict[str, float | None]:
        """One name per figure: macro_auroc, ..., those of `finetune.evaluation.metrics.class_scores`, auroc_<label>, ..."""
        figures: dict[str, float | None] = {f"macro_{name}": self.macro[name] for name in METRICS}
        figures |= self.classes.figures
        for name in METRICS:
            figures.update({f"{name}_{label}": metrics[name] for label, metrics in self.labels.items()})
        return figures

    def as_json(self) -> dict[str, Any]:
        """Nested, JSON-safe."""
        return {
            "clips": self.clips,
            "macro": self.macro,
            "classes": self.classes.as_json(),
            "labels": self.labels,
        }


def figure_names(task: Task) -> list[str]:
    """The names that `Scores.flat` has for ``task``, known before there is a clip."""
    each = [f"{name}_{label}" for name in METRICS for label in task.labels]
    return [*(f"macro_{name}" for name in METRICS), *ClassTask.of(task).titles, *each]


def score(
    targets: np.ndarray,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    labels: Sequence[str],
    scored: Sequence[str],
    task: ClassTask = MULTI_LABEL,
) -> Scores:
    """Compute every metric.

    Args:
        targets: [n, L] of 1, 0 or NaN (not annotated: left out of that label).
        probabilities: [n, L].
        decisions: [n, L] of 1 or 0.
        labels: names of the L labels.
        scored: those that macro figures and the ICBHI Score's classes are made of.
        task: what figures over classes there are; the labels that it cannot evaluate have counts only.
    """
    per_label = {
        label: label_metrics(targets[:, column], probabilities[:, column], decisions[:, column]) for column, label in enumerate(labels)
    }
    for label in task.not_evaluable:
        per_label[label] |= dict.fromkeys(METRICS)
    return Scores(
        clips=int((~np.isnan(targets)).any(axis=1).sum()),
        labels=per_label,
        macro=macro_metrics(per_label, [label for label in scored if label not in task.not_evaluable]),
        classes=class_scores(targets, decisions, labels, scored, task),
    )

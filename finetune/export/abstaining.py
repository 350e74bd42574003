"""When an exported file's answer is to be left to a person: bands of labels, or one limit of classes that exclude each other."""

from typing import Any

from finetune.evaluation.abstention.per_class import limit_of
from finetune.evaluation.abstention.per_label import choose_bands
from finetune.evaluation.result import Evaluation


def abstaining(evaluation: Evaluation, kept: float) -> dict[str, Any]:
    """The keys ``abstain``, ``abstain_limit`` and ``abstain_kept`` of model.json, chosen as the report chooses them from all folds.

    Args:
        evaluation: of a run's out-of-fold predictions.
        kept: sensitivity and specificity that the bands keep, or share of right decisions that the limit does.
    """
    task, found = evaluation.task, evaluation.predictions
    bands: dict[str, list[float] | None] = dict.fromkeys(task.labels)
    limit = None
    # Of three or more classes that exclude each other none is decided by itself.
    if task.one_of and len(task.labels) > 2:
        limit = limit_of(task, found.targets, found.probabilities, evaluation.thresholds, kept)
    else:
        chosen = choose_bands(found.targets, found.probabilities, task.labels, kept)
        bands = {label: None if band is None else list(band) for label, band in zip(task.labels, chosen, strict=True)}
    return {"abstain": bands, "abstain_limit": limit, "abstain_kept": kept}

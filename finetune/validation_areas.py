"""AUROC per label of what validation saw, over all processes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.evaluation.metrics.label_metrics import auroc


def validation_areas(labels: Sequence[str], probabilities: Tensor, target: Tensor) -> dict[str, float]:
    """Label -> AUROC, of those labels that have both classes.

    Args:
        labels: names of L labels.
        probabilities: of the validation clips that this process saw, [n, L].
        target: what they are, 1, 0 or NaN, [n, L].
    """
    probabilities, target = _gathered(probabilities), _gathered(target)
    areas = {}
    for column, label in enumerate(labels):
        known = ~target[:, column].isnan()
        truth = target[known, column] == 1
        area = auroc(truth.cpu().numpy(), probabilities[known, column].cpu().double().numpy())
        if area is not None:
            areas[label] = area
    return areas


def _gathered(values: Tensor) -> Tensor:
    """``values`` of all processes, one after the other along the first dimension; they may differ in length."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    from torchmetrics.utilities.distributed import gather_all_tensors

    return torch.cat(gather_all_tensors(values))

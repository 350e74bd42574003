"""Losses over independent labels, of which some clips have no annotation: an unknown target adds neither loss nor gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_bce(logits: Tensor, targets: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over the annotated targets, stable for logits of any size.

    Args:
        logits: [B, L].
        targets: [B, L]; 1, 0, anything between (mixup) or NaN for "not annotated".
        positive_weight: [L], factor on the positive part of each label's loss; None is 1.

    Returns:
        Mean over the annotated entries of -(w y log p + (1 - y) log(1 - p)) with p = sigmoid(logit), float32 scalar; 0 where
        nothing is annotated.

    Example:
        >>> round(masked_bce(torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, float("nan")]])).item(), 4)
        0.6931
    """
    logits, known, targets = _prepare(logits, targets)
    per_entry = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weight, reduction="none")
    return _mean(per_entry, known)


def masked_focal(logits: Tensor, targets: Tensor, gamma: float = 2.0, positive_weight: Tensor | None = None) -> Tensor:
    """Focal loss over the annotated targets: cross-entropy in which clips that are already decided well count less.

    Args:
        logits: [B, L].
        targets: [B, L]; 1, 0, anything between (mixup) or NaN for "not annotated".
        gamma: how fast well decided clips fade, at least 0; 0 is `masked_bce`.
        positive_weight: [L], factor on the positive part of each label's loss; None is 1. The paper's alpha up to a constant.

    Returns:
        Mean over the annotated entries of -(w y (1 - p)^gamma log p + (1 - y) p^gamma log(1 - p)), float32 scalar; 0 where nothing
        is annotated.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 5.
    """
    logits, known, targets = _prepare(logits, targets)
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    # (1 - p)^gamma as exp(gamma log(1 - p)): the power itself has an infinite slope at p = 1 for gamma < 1, and 0 * inf is NaN.
    positive = -torch.exp(gamma * log_not_p) * log_p
    negative = -torch.exp(gamma * log_p) * log_not_p
    if positive_weight is not None:
        positive = positive_weight * positive
    return _mean(targets * positive + (1 - targets) * negative, known)


def masked_asymmetric(
    logits: Tensor,
    targets: Tensor,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
    positive_weight: Tensor | None = None,
) -> Tensor:
    """Asymmetric loss over the annotated targets: negatives fade faster than positives, and those below a margin are dropped.

    Args:
        logits: [B, L].
        targets: [B, L]; 1, 0, anything between (mixup) or NaN for "not annotated".
        gamma_positive: how fast well decided positives fade, at least 0.
        gamma_negative: how fast well decided negatives fade, at least 0.
        margin: m, in [0, 1): a negative of a probability up to this adds nothing.
        positive_weight: [L], factor on the positive part of each label's loss; None is 1, as in the paper.

    Returns:
        Mean over the annotated entries of -(w y (1 - p)^gamma_positive log p + (1 - y) p_m^gamma_negative log(1 - p_m)) with
        p_m = max(p - m, 0), float32 scalar; 0 where nothing is annotated. With m = 0 and equal gammas it is `masked_focal`.

    Reference:
        Ridnik et al., "Asymmetric Loss For Multi-Label Classification", 2021: asymmetric focusing, and probability shifting (p_m). Their
        code sums over the batch and can leave the focusing factor without a gradient (disable_torch_grad_focal_loss); the formula here
        is the paper's, and its mean keeps the learning rate of the others.
    """
    logits, known, targets = _prepare(logits, targets)
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -torch.exp(gamma_positive * log_not_p) * log_p
    if margin == 0:
        negative = -torch.exp(gamma_negative * log_p) * log_not_p
    else:
        # 1 is in place of the dropped ones' p - m, whose power has an infinite slope at 0 for gamma < 1; their log(1 - p_m) is 0.
        shifted = torch.sigmoid(logits) - margin
        counts = shifted > 0
        # 1 - p_m as (1 - p) + m: exact where p is so near to 1 that 1 - p would be lost.
        log_not_shifted = torch.log(torch.where(counts, torch.sigmoid(-logits) + margin, 1.0))
        negative = -(torch.where(counts, shifted, 1.0) ** gamma_negative) * log_not_shifted
    if positive_weight is not None:
        positive = positive_weight * positive
    return _mean(targets * positive + (1 - targets) * negative, known)


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Targets [B, L] moved towards 1/2: y (1 - s) + s / 2 with s = ``smoothing`` in [0, 1); NaN stays NaN.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7, for the two classes of each label.
    """
    return targets * (1 - smoothing) + smoothing / 2


def _prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Float32 logits (half precision loses small losses), which targets are known, and the targets with 0 for unknown."""
    known = ~targets.isnan()
    return logits.float(), known, torch.where(known, targets, 0.0).float()


def _mean(per_entry: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, per_entry, 0.0).sum() / known.sum().clamp(min=1)

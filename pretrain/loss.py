"""NT-Xent, the contrastive loss of SimCLR: each view finds its partner among all views of the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Normalised temperature-scaled cross-entropy over the 2B views of B clips.

    The mean over all views i, with partner j(i), of

        l_i = -log exp(sim(z_i, z_j) / temperature) / sum_{k != i} exp(sim(z_i, z_k) / temperature),

    where sim is the cosine similarity. It is at most log(2B - 1) + 2 / temperature, and log(2B - 1) when nothing is told apart.

    Stable by construction: in float32 or better whatever the precision of the embeddings and of autocast, since a temperature of
    0.1 multiplies the rounding of bf16 (0.4 %) by ten, and through log-softmax, which never exponentiates a large number.

    Args:
        z1: first views' projections, [B, D], of any length. In a run of several processes: those of all processes joined.
        z2: second views' projections of the same clips in the same order, [B, D].
        temperature: above 0; small ones count the hardest negatives only.
        same: bool [B, B], symmetric: pairs of different clips that may not be negatives of each other, for example because
            they come from one recording. Its diagonal is ignored.

    Returns:
        Scalar; 0 where no view has a negative.

    Reference:
        Chen et al. 2020, equation 1 and algorithm 1.
    """
    logits = _similarities(z1, z2, same) / temperature
    return functional.cross_entropy(logits, _partners(len(z1), logits.device))


def contrastive_accuracy(z1: Tensor, z2: Tensor, same: Tensor | None = None) -> Tensor:
    """Share of the 2B views whose partner is the most similar of all allowed views; arguments as in `nt_xent`."""
    nearest = _similarities(z1, z2, same).argmax(dim=1)
    return (nearest == _partners(len(z1), nearest.device)).float().mean()


def _similarities(z1: Tensor, z2: Tensor, same: Tensor | None) -> Tensor:
    """Cosine similarities [2B, 2B] of all views, -inf where a view may not be compared: itself and false negatives."""
    # Without this, the matrix product would be done in bf16 or fp16 again.
    with torch.autocast(z1.device.type, enabled=False):
        z = torch.cat([z1, z2])
        z = functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        similarities = z @ z.T
    barred = torch.eye(len(z), dtype=torch.bool, device=z.device)
    if same is not None:
        others = same & ~torch.eye(len(z1), dtype=torch.bool, device=z.device)
        barred = barred | others.repeat(2, 2)
    return similarities.masked_fill(barred, -torch.inf)


def _partners(size: int, device: torch.device) -> Tensor:
    """Row of each view's partner, int64 [2B]: view i of the first half belongs to view i + B."""
    return torch.arange(2 * size, device=device).roll(size)

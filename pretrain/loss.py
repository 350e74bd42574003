"""NT-Xent, the contrastive loss of SimCLR: each view finds its partner among all views of the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pretrain.similarity import mean_over_rows, partners, similarities


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float,
    codes: Tensor | None = None,
    own: slice | None = None,
    block: int | None = None,
) -> Tensor:
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
        codes: int64 [V, B]: clips with a code in common may not be negatives of each other, for example because they come from one
            recording, see `pretrain.similarity.barred`.
        own: clips over whose views the mean is taken; all by default. With an equal share of the joined batch in each process, the mean
            of their losses is the loss of the joined batch, and its gradient the mean of theirs.
        block: rows of the similarity matrix at a time, see `mean_over_rows`; changes memory and time, not the result.

    Returns:
        Scalar; 0 where no view has a negative.

    Reference:
        Chen et al. 2020, equation 1 and algorithm 1.
    """
    size = len(z1)

    def row_sum(z: Tensor, rows: Tensor) -> Tensor:
        return functional.cross_entropy(similarities(z, rows, codes, temperature), partners(rows, size), reduction="sum")

    return mean_over_rows(row_sum, z1, z2, own, block)


@torch.no_grad()
def contrastive_accuracy(z1: Tensor, z2: Tensor, codes: Tensor | None = None, own: slice | None = None, block: int | None = None) -> Tensor:
    """Share of the views whose partner is the most similar of all allowed views; arguments as in `nt_xent`."""
    size = len(z1)

    def row_sum(z: Tensor, rows: Tensor) -> Tensor:
        return (similarities(z, rows, codes).argmax(dim=1) == partners(rows, size)).float().sum()

    return mean_over_rows(row_sum, z1, z2, own, block)

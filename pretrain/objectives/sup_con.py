"""Supervised contrastive learning on partial labels: clips with equal labels meet, clips without labels are as in SimCLR.

P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola, A. Maschinot, C. Liu, D. Krishnan, "Supervised Contrastive Learning",
NeurIPS 2020.
"""

import torch
from torch import Tensor

from pretrain.objectives.base import Objective, Pairs, refuse_not_positive
from pretrain.similarity import barred, mean_over_rows, partners


def sup_con(
    z1: Tensor,
    z2: Tensor,
    temperature: float,
    labels: Tensor,
    codes: Tensor | None = None,
    own: slice | None = None,
    block: int | None = None,
) -> Tensor:
    """Supervised contrastive loss over the 2B views of B clips, of which some are labelled.

    The mean over all views i of

        l_i = -1 / |P(i)| sum_{p in P(i)} log exp(sim(z_i, z_p) / temperature) / sum_{a in A(i)} exp(sim(z_i, z_a) / temperature).

    P(i) holds the partner of i and all views whose labels are known and equal to those of i; A(i) holds P(i) and all views that may be
    negatives. The paper sums over i. Labels are compared whole: were one label in common enough, wheeze-and-crackle would meet both
    wheeze and crackle, which are each other's negatives; equality cannot contradict itself.

    Views with an unknown label have their partner alone in P(i), and remain negatives of all others: left out of A(i), they would have no
    negatives at all and learn nothing. So without any label this is NT-Xent, and with all of them the paper's loss.

    Args:
        z1: first views' projections, [B, D], of any length.
        z2: second views' projections of the same clips in the same order, [B, D].
        temperature: above 0.
        labels: int64 [V, B], a code per view, V = 2, or per clip, V = 1: equal for equal labels, -1 for unknown.
        codes: as in `pretrain.loss.nt_xent`; bars negatives, not positives.
        own: as in `pretrain.loss.nt_xent`.
        block: as in `pretrain.loss.nt_xent`.

    Returns:
        Scalar.

    Reference:
        Khosla et al. 2020, equation 2.
    """
    size = len(z1)
    label = labels.expand(2, -1).flatten()

    def row_sum(z: Tensor, rows: Tensor) -> Tensor:
        every = torch.arange(2 * size, device=z.device)
        alike = (label[rows].unsqueeze(1) == label) & (label[rows] >= 0).unsqueeze(1)
        positive = (alike | (partners(rows, size).unsqueeze(1) == every)) & (rows.unsqueeze(1) != every)
        logits = ((z[rows] / temperature) @ z.T).masked_fill_(barred(rows, size, codes) & ~positive, -torch.inf)
        log_probability = logits.log_softmax(dim=1).masked_fill(~positive, 0)
        return -(log_probability.sum(dim=1) / positive.sum(dim=1)).sum()

    return mean_over_rows(row_sum, z1, z2, own, block)


class SupCon(Objective):
    """Clips with equal labels meet (Khosla et al. 2020, equation 2); a clip without labels has its other view only, as in SimCLR.

    Args:
        temperature: of the loss; small ones count the hardest negatives only. The paper's is 0.1.
        block: rows of the similarity matrix that are kept in memory at a time; by default as many as take 64 MiB. Changes memory and
            time, not the result.
    """

    uses_labels = True

    def __init__(self, temperature: float = 0.1, block: int | None = None) -> None:
        refuse_not_positive(self, temperature=temperature, block=block)
        self.temperature = temperature
        self.block = block

    def __call__(self, pairs: Pairs) -> Tensor:
        assert pairs.labels is not None
        return sup_con(pairs.z1, pairs.z2, self.temperature, pairs.labels, pairs.codes, pairs.own, self.block)

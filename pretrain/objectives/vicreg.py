"""VICReg: two views agree, every dimension varies, no two dimensions say the same. Needs no negatives.

A. Bardes, J. Ponce, Y. LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022.
"""

import torch
from torch import Tensor
from torch.nn import functional

from common.errors import UserError
from pretrain.objectives.base import Objective, Pairs, refuse_not_positive

# The paper's epsilon: the gradient of a standard deviation of 0 would be infinite.
EPSILON = 1e-4


def vicreg(
    z1: Tensor, z2: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, own: slice | None = None
) -> Tensor:
    """Weighted sum of an invariance, a variance and a covariance term,

        invariance * s(Z, Z') + variance * (v(Z) + v(Z')) / 2 + covariance * (c(Z) + c(Z')),

        s(Z, Z') = 1 / (B D) sum_i |z_i - z'_i|^2
        v(Z)     = 1 / D sum_j max(0, 1 - sqrt(Var(z^j) + 0.0001))
        c(Z)     = 1 / D sum_{j != k} C(Z)_jk^2, with C the covariance matrix; both Var and C divide by B - 1.

    These are the terms of the authors' code, for which 25, 25 and 1 were chosen: it divides s by D and halves the variance term, where
    the paper's equations 5 and 6 do neither.

    Args:
        z1: first views' projections, [B, D]. In a run of several processes: those of all processes joined.
        z2: second views' projections of the same clips in the same order, [B, D].
        invariance: weight of s.
        variance: weight of v.
        covariance: weight of c.
        own: clips over which s is taken; all by default. Variance and covariance are those of all clips in any case.

    Returns:
        Scalar, float32 or better.

    Reference:
        Bardes et al. 2022, equations 1 to 6 and algorithm 1.
    """
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = (z.to(torch.promote_types(z.dtype, torch.float32)) for z in (z1, z2))
        own = own or slice(None)
        loss = invariance * functional.mse_loss(z1[own], z2[own])
        for z in (z1, z2):
            centred = z - z.mean(dim=0)
            # A batch of one has no covariance; 0 keeps what a short last batch of validation shows finite.
            matrix = centred.T @ centred / max(1, len(z) - 1)
            spread = (matrix.diagonal() + EPSILON).sqrt()
            off_diagonal = matrix - matrix.diagonal().diag()
            loss = loss + variance / 2 * functional.relu(1 - spread).mean() + covariance * off_diagonal.square().sum() / z.shape[1]
        return loss


class VICReg(Objective):
    """Views agree, dimensions vary and differ, without negatives (Bardes et al. 2022). Set ``projection_dim`` far above 128.

    Statistics are those of the joined batch of all processes. ``model.mask_negatives`` concerns the logged accuracy only.

    Args:
        invariance: weight of the mean squared distance of the two views.
        variance: weight of the hinge that keeps the standard deviation of each dimension above 1.
        covariance: weight of the squared covariances between dimensions.
    """

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        refuse_not_positive(self, invariance=invariance, variance=variance)
        if covariance < 0:
            raise UserError(f"VICReg: covariance is {covariance}, expected 0 or more.")
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def __call__(self, pairs: Pairs) -> Tensor:
        return vicreg(pairs.z1, pairs.z2, self.invariance, self.variance, self.covariance, pairs.own)

"""Is it learning, or collapsing? What the loss alone does not tell about a set of embeddings."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def embedding_std(embeddings: Tensor) -> Tensor:
    """Mean over the dimensions of the standard deviation of unit-length embeddings, times sqrt(D).

    0 when all embeddings are the same (complete collapse), 1 when they are spread evenly over the sphere.

    Args:
        embeddings: [n, D].

    Reference:
        Chen and He 2021, "Exploring Simple Siamese Representation Learning", section 4.1 and figure 2.
    """
    unit = functional.normalize(embeddings.double(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(embeddings.shape[1])


def effective_rank(embeddings: Tensor) -> Tensor:
    """How many dimensions the embeddings really use: exp of the entropy of their normalised singular values.

    Centred first, since the mean of rectified features would otherwise hide everything else in one large singular value.

    Args:
        embeddings: [n, D].

    Returns:
        Scalar from 1 to min(n - 1, D); 0 when all embeddings are the same.

    Reference:
        Roy and Vetterli 2007, "The effective rank", definition 1.
    """
    embeddings = embeddings.double()
    singular = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0))
    # What rounding leaves of identical embeddings is no dimension.
    noise = torch.finfo(torch.float32).eps * max(embeddings.shape) * torch.linalg.matrix_norm(embeddings, 2)
    if singular[0] <= noise:
        return torch.zeros((), dtype=torch.float64)
    share = singular / singular.sum()
    return torch.special.entr(share).sum().exp()


def alignment(z1: Tensor, z2: Tensor) -> Tensor:
    """Mean squared distance of the two views of a clip on the unit sphere: 0 (same place) to 4; lower is better.

    Args:
        z1: first views, [n, D].
        z2: second views of the same clips, [n, D].

    Reference:
        Wang and Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
        hypersphere", section 4.1, with alpha = 2.
    """
    return (_unit(z1) - _unit(z2)).square().sum(dim=1).mean()


def uniformity(z: Tensor) -> Tensor:
    """Logarithm of the mean Gaussian potential between all pairs: 0 (one point) down to about -4; lower is better.

    Args:
        z: [n, D], n at least 2.

    Reference:
        Wang and Isola 2020, section 4.1, with t = 2.
    """
    squared = torch.nn.functional.pdist(_unit(z)).square()
    return squared.mul(-2).exp().mean().log()


def _unit(z: Tensor) -> Tensor:
    return functional.normalize(z.float(), dim=1)

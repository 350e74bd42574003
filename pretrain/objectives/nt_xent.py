"""NT-Xent as an objective, the default."""

from torch import Tensor

from pretrain.loss import nt_xent
from pretrain.objectives.base import Objective, Pairs, refuse_not_positive


class NTXent(Objective):
    """Each view finds its partner among all views of the batch (SimCLR), see `pretrain.loss.nt_xent`.

    Args:
        temperature: of the loss; small ones count the hardest negatives only.
        block: rows of the similarity matrix that are kept in memory at a time; by default as many as take 64 MiB. Changes memory and
            time, not the result.
    """

    def __init__(self, temperature: float = 0.1, block: int | None = None) -> None:
        refuse_not_positive(self, temperature=temperature, block=block)
        self.temperature = temperature
        self.block = block

    def __call__(self, pairs: Pairs) -> Tensor:
        return nt_xent(pairs.z1, pairs.z2, self.temperature, pairs.codes, pairs.own, self.block)

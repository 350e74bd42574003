"""The Augmentation interface: first draw the parameters of every example, then apply them to the whole batch."""

import torch
from torch import Tensor, nn

from common.described import Described

Draw = dict[str, Tensor]


class Augmentation(Described, nn.Module):
    """Waveforms [B, T] -> [B, T], or spectrograms [B, 1, F, N] -> the same, changed per example on their device.

    A subclass writes ``draw`` and ``apply``. Split so that a draw can be repeated on another batch, tested for its statistics
    and shown as a picture. Neither may loop over examples nor move data to the host.

    Args:
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p}, expected a probability between 0 and 1")
        self.p = p

    def draw(self, x: Tensor) -> Draw:
        """Draw the parameters for a batch; each tensor's first dimension is B."""
        raise NotImplementedError

    def apply_draw(self, x: Tensor, draw: Draw) -> Tensor:
        """Apply drawn parameters; the same draw on the same batch gives the same result."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        draw = self.draw(x)
        if self.p == 1:
            return self.apply_draw(x, draw)
        chosen = torch.rand(len(x), device=x.device) < self.p
        return torch.where(chosen.view(-1, *[1] * (x.dim() - 1)), self.apply_draw(x, draw), x)


def uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number per example, uniform in [low, high), on the device of ``x``: [B]."""
    return torch.empty(len(x), device=x.device).uniform_(low, high)


class Chain(Augmentation):
    """Apply augmentations one after the other.

    Args:
        steps: what to apply, in order.
    """

    def __init__(self, steps: list[Augmentation]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

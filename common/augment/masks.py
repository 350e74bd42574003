"""SpecAugment's time and frequency masks (Park et al., 2019, section 2), filled with the example's mean."""

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler
from common.errors import UserError


class _BandMask(Augmentation):
    """Masks along one axis of [B, 1, F, N]: widths uniform in 0..max_fraction of the axis, positions uniform where they fit."""

    axis: int

    def __init__(self, max_fraction: float, num_masks: int, p: float) -> None:
        super().__init__(p)
        if not 0 <= max_fraction <= 1 or num_masks < 1:
            raise UserError(
                f"{type(self).__name__}: max_fraction {max_fraction} and num_masks {num_masks}, expected 0 to 1 and at least 1."
            )
        self.max_fraction = max_fraction
        self.num_masks = num_masks

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        size = x.shape[self.axis]
        width = (random.uniform(0, int(self.max_fraction * size) + 1, self.num_masks)).long()
        start = (random.uniform(0, 1, self.num_masks) * (size - width + 1)).long()
        return {"start": start, "width": width}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        place = torch.arange(x.shape[self.axis], device=x.device)
        start = draw["start"].unsqueeze(-1)
        masked = ((place >= start) & (place < start + draw["width"].unsqueeze(-1))).any(dim=1)
        shape = [len(x), *[1] * (x.dim() - 1)]
        shape[self.axis] = -1
        return torch.where(masked.view(shape), x.mean(dim=(1, 2, 3), keepdim=True), x)


class TimeMask(_BandMask):
    """Hide stretches of time, so that no single sound decides.

    Args:
        max_fraction: widest mask, as a share of the clip, 0 to 1.
        num_masks: masks per example; they may overlap.
        p: probability that an example is changed, 0 to 1.
    """

    axis = -1

    def __init__(self, max_fraction: float = 0.1, num_masks: int = 2, p: float = 1.0) -> None:
        super().__init__(max_fraction, num_masks, p)


class FrequencyMask(_BandMask):
    """Hide bands of frequency, so that no single band decides.

    Args:
        max_fraction: widest mask, as a share of the bins, 0 to 1.
        num_masks: masks per example; they may overlap.
        p: probability that an example is changed, 0 to 1.
    """

    axis = -2

    def __init__(self, max_fraction: float = 0.15, num_masks: int = 2, p: float = 1.0) -> None:
        super().__init__(max_fraction, num_masks, p)

"""Random resized crop of spectrograms (BYOL-A: Niizumi et al., 2021, section III-B2), as one resampling grid for the batch."""

import torch
from torch import Tensor
from torch.nn import functional

from common.augment.base import Augmentation, Draw, Sampler, checked_range
from common.errors import UserError


class RandomResizedCrop(Augmentation):
    """Cut a random part out of the time-frequency plane and resize it to the whole: stretches and moves sounds in both.

    As in BYOL-A the part may reach past the spectrogram in time (and here in frequency), where it is filled with the example's mean;
    a scale above 1 therefore shrinks. Interpolated bilinearly.

    Args:
        frequency_scale: range of the part's height, as a share of the bins.
        time_scale: range of the part's width, as a share of the frames.
        canvas: how far, as a multiple of the spectrogram's height and width, the plane reaches in frequency and in time: the part lies
            within it, and scales above it are cut to it.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(
        self,
        frequency_scale: tuple[float, float] = (0.6, 1.5),
        time_scale: tuple[float, float] = (0.6, 1.5),
        canvas: tuple[float, float] = (1.0, 1.5),
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.frequency_scale = checked_range(self, "frequency_scale", frequency_scale, low=0.05)
        self.time_scale = checked_range(self, "time_scale", time_scale, low=0.05)
        if min(canvas) < 1:
            raise UserError(f"RandomResizedCrop: canvas is {canvas}, expected two numbers of at least 1.")
        self.canvas = (float(canvas[0]), float(canvas[1]))

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        height = random.uniform(*self.frequency_scale).clamp(max=self.canvas[0])
        width = random.uniform(*self.time_scale).clamp(max=self.canvas[1])
        # Centres in [-1, 1] coordinates of the spectrogram, so that the part stays on the canvas.
        return {
            "height": height,
            "width": width,
            "frequency_centre": random.uniform(-1, 1) * (self.canvas[0] - height),
            "time_centre": random.uniform(-1, 1) * (self.canvas[1] - width),
        }

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        zero = torch.zeros_like(draw["width"])
        across = torch.stack([draw["width"], zero, draw["time_centre"]], dim=-1)
        down = torch.stack([zero, draw["height"], draw["frequency_centre"]], dim=-1)
        grid = functional.affine_grid(torch.stack([across, down], dim=1), list(x.shape), align_corners=False)
        # grid_sample fills with zeros past the edge: zero is made the mean.
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return functional.grid_sample(x - mean, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + mean

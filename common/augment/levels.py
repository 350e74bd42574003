"""Changes of level, sign and time origin: what the amplifier, the microphone's wiring and the start button do."""

import math

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler, checked_range, per_example
from common.augment.stretches import read_stretches


def decibels_to_amplitude(level_db: Tensor) -> Tensor:
    """Amplitude ratio of a level in dB; -inf dB is 0."""
    return torch.exp(level_db * (math.log(10) / 20))


class Gain(Augmentation):
    """Multiply each waveform by a constant.

    A front end that standardises every clip takes this out again; it matters for those that do not, and before `Clipping`.

    Args:
        gain_db: range of the gain, dB.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, gain_db: tuple[float, float] = (-12.0, 12.0), p: float = 1.0) -> None:
        super().__init__(p)
        self.gain_db = checked_range(self, "gain_db", gain_db)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"gain_db": random.uniform(*self.gain_db)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return x * per_example(decibels_to_amplitude(draw["gain_db"]), x)


class Polarity(Augmentation):
    """Turn the sign of waveforms, as a microphone wired the other way round does.

    Args:
        p: probability that an example is turned, 0 to 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return -x


class Shift(Augmentation):
    """Begin each waveform later and append what was cut off: another moment of the recording's start.

    Args:
        sample_rate: Hz.
        shift_s: range of the shift, seconds; a negative one begins earlier. None is any shift within the clip.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, sample_rate: int, shift_s: tuple[float, float] | None = None, p: float = 1.0) -> None:
        super().__init__(p)
        self.sample_rate = sample_rate
        self.shift_s = None if shift_s is None else checked_range(self, "shift_s", shift_s)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        low, high = self.shift_s or (0.0, x.shape[-1] / self.sample_rate)
        return {"shift_s": random.uniform(low, high)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        start = (draw["shift_s"] * self.sample_rate).round().long()
        return read_stretches(x, start.unsqueeze(1), x.shape[-1]).squeeze(1)


class Clipping(Augmentation):
    """Cut off the peaks at a level below the clip's own maximum, as an overdriven preamplifier does.

    Args:
        drive_db: range of how far above the cut the maximum lies, dB, at least 0.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, drive_db: tuple[float, float] = (0.0, 12.0), p: float = 1.0) -> None:
        super().__init__(p)
        self.drive_db = checked_range(self, "drive_db", drive_db, low=0)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"drive_db": random.uniform(*self.drive_db)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        limit = x.abs().amax(dim=-1, keepdim=True) * per_example(decibels_to_amplitude(-draw["drive_db"]), x)
        return x.clamp(min=-limit, max=limit)

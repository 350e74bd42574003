"""Play waveforms at another speed, pitch and tempo together, by band-limited interpolation at per-example positions."""

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler, checked_range
from common.augment.stretches import read_stretches

INTERPOLATION_TAPS = 8
KAISER_BETA = 6.0
# Positions are integers in units of 2**-20 sample: a float32 at sample 160,000 would be off by a 64th of a sample.
FRACTION_BITS = 20
PHASE_BITS = 10


def play(x: Tensor, speed: Tensor, length: int) -> Tensor:
    """Read waveforms, repeated endlessly, at the positions 0, speed, 2 speed, ...

    Nothing above the Nyquist frequency divided by ``speed`` may be left in ``x``: it would alias.

    Args:
        x: waveforms, float [B, T].
        speed: samples to go on per output sample, above 0, [B].
        length: samples to return.

    Returns:
        float [B, length].
    """
    step = (speed.double() * 2**FRACTION_BITS).round().long()
    position = torch.arange(length, device=x.device) * step.unsqueeze(1)
    phase = (position >> (FRACTION_BITS - PHASE_BITS)) & (2**PHASE_BITS - 1)
    first_tap = (position >> FRACTION_BITS) - (INTERPOLATION_TAPS // 2 - 1)
    weights = interpolation_table(x.device)[phase]
    return torch.einsum("btk,btk->bt", read_stretches(x, first_tap, INTERPOLATION_TAPS), weights)


def interpolation_table(device: torch.device) -> Tensor:
    """Weights of the taps at each phase between two samples, a sinc under a Kaiser window: [2**PHASE_BITS, INTERPOLATION_TAPS]."""
    phase = torch.arange(2**PHASE_BITS, device=device) / 2**PHASE_BITS
    distance = torch.arange(INTERPOLATION_TAPS, device=device) - (INTERPOLATION_TAPS // 2 - 1) - phase.unsqueeze(1)
    inside = (1 - (distance * 2 / INTERPOLATION_TAPS).square()).clamp(min=0)
    window = torch.special.i0(KAISER_BETA * inside.sqrt())
    weights = torch.sinc(distance) * window
    return weights / weights.sum(dim=1, keepdim=True)


class Speed(Augmentation):
    """Play faster and higher, or slower and lower (Ko et al., 2015, "Audio augmentation for speech recognition").

    Unlike the phase vocoder of `TimeStretch` and `PitchShift` it leaves clicks as sharp as they were, and costs less.

    Args:
        speed: range of the speed; 2 takes half the time and doubles every frequency. Drawn so that its logarithm is uniform.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, speed: tuple[float, float] = (0.9, 1.1), p: float = 1.0) -> None:
        super().__init__(p)
        self.speed = checked_range(self, "speed", speed, low=0.1, high=10)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"speed": random.log_uniform(*self.speed)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        speed = draw["speed"]
        if self.speed[1] > 1:
            spectrum = torch.fft.rfft(x)
            share = torch.linspace(0, 1, spectrum.shape[-1], device=x.device)
            x = torch.fft.irfft(spectrum * (share * speed.unsqueeze(1) <= 1), n=x.shape[-1])
        return play(x, speed, x.shape[-1])

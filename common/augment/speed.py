"""Play waveforms at another speed, pitch and tempo together, by band-limited interpolation at per-example positions."""

import math

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler, checked_range

# A spectrum padded to twice the rate leaves the interpolation little to do: six taps under a Kaiser window of this shape are then
# exact to -50 dB for every frequency up to 0.9 of the Nyquist frequency (eight taps without the padding: only up to 0.6).
OVERSAMPLING = 2
INTERPOLATION_TAPS = 6
KAISER_BETA = 5.0
# Positions are integers in units of 2**-20 sample: a float32 at sample 160,000 would be off by a 64th of a sample.
FRACTION_BITS = 20
PHASE_BITS = 10


def play(x: Tensor, speed: Tensor, length: int, max_speed: float) -> Tensor:
    """Read waveforms, repeated endlessly, at the positions 0, speed, 2 speed, ...; what would alias is taken out first.

    Args:
        x: waveforms, float [B, T].
        speed: samples to go on per output sample, above 0, [B].
        length: samples to return.
        max_speed: no less than any of ``speed``, which stays on its device.

    Returns:
        float [B, length].
    """
    finer = OVERSAMPLING * x.shape[-1]
    spectrum = torch.fft.rfft(x)
    share_of_nyquist = torch.linspace(0, 1, spectrum.shape[-1], device=x.device)
    spectrum = spectrum * (share_of_nyquist * speed.unsqueeze(1) < 1)
    fine = torch.fft.irfft(spectrum, n=finer) * OVERSAMPLING

    reach = math.ceil(OVERSAMPLING * length * max_speed) + INTERPOLATION_TAPS
    before = INTERPOLATION_TAPS // 2 - 1
    endless = torch.cat([fine[:, finer - before :], fine.repeat(1, math.ceil(reach / finer))], dim=1)[:, :reach]

    step = (speed.double() * (OVERSAMPLING << FRACTION_BITS)).round().long().unsqueeze(1)
    position = torch.arange(length, device=x.device) * step
    phase = (position >> (FRACTION_BITS - PHASE_BITS)) & (2**PHASE_BITS - 1)
    first = position >> FRACTION_BITS
    # One gather per tap: a gather of all taps at once makes tensors so large that a CPU spends its time on fetching memory.
    played = x.new_zeros(len(x), length)
    for tap, weights in enumerate(interpolation_table(x.device)):
        played.addcmul_(endless[:, tap:].gather(1, first), weights.expand(len(x), -1).gather(1, phase))
    return played


def interpolation_table(device: torch.device) -> Tensor:
    """Weights of each tap at each phase between two samples, a sinc under a Kaiser window: [INTERPOLATION_TAPS, 2**PHASE_BITS]."""
    phase = torch.arange(2**PHASE_BITS, device=device) / 2**PHASE_BITS
    distance = (torch.arange(INTERPOLATION_TAPS, device=device) - (INTERPOLATION_TAPS // 2 - 1)).unsqueeze(1) - phase
    inside = (1 - (distance * 2 / INTERPOLATION_TAPS).square()).clamp(min=0)
    weights = torch.sinc(distance) * torch.special.i0(KAISER_BETA * inside.sqrt())
    return weights / weights.sum(dim=0)


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
        return play(x, draw["speed"], x.shape[-1], self.speed[1])

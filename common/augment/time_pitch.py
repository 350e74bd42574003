"""Time stretch and pitch shift by a phase vocoder that reads its frames at per-example positions.

For the output frame m, which lies at m hop, two frames of the input are read: one at p_m = m hop rate, the other one hop before
it. The phase of each bin advances between those two by what it should advance over one hop of the output, whatever the rate:

    phase_m = phase_{m-1} + angle(X(p_m)) - angle(X(p_m - hop)),  |Y_m| = |X(p_m)|

So neither magnitudes nor phases are interpolated, and rate 1 gives the input back. The sum runs as a cumulative sum over frames.
Left alone it loses the phase between bins, which smears a crackle of 5 ms over the frame; so where a sound attacks, the phases
start anew from the input's own.

Reference: M. Puckette, "Phase-locked vocoder", IEEE WASPAA, 1995 (the two reads of each frame); A. Roebel, "A new approach to
transient processing in the phase vocoder", DAFx, 2003 (new phases at attacks; here for all bins of a frame at once).
"""

import math

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler, checked_range
from common.augment.speed import play
from common.augment.stretches import read_stretches
from common.errors import UserError

OVERLAP = 4
ATTACK_RATIO = 2.0
ATTACK_FLOOR = 1e-6


def vocode(x: Tensor, rate: Tensor, length: int, n_fft: int) -> Tensor:
    """Play waveforms, repeated endlessly, at ``rate`` without changing their pitch.

    Args:
        x: waveforms, float [B, T].
        rate: speed, [B]; 2 takes half the time.
        length: samples to return.
        n_fft: samples of a frame, a multiple of 4.

    Returns:
        float [B, length].
    """
    hop = n_fft // OVERLAP
    num_frames = -(-length // hop) + OVERLAP - 1
    # The first frame that reaches into the output begins OVERLAP - 1 hops before it. Middles of frames are what is moved by the rate.
    middle = (torch.arange(num_frames, device=x.device) - (OVERLAP - 1)) * hop + n_fft // 2
    position = (middle * rate.unsqueeze(1)).round().long() - n_fft // 2
    window = torch.hann_window(n_fft, device=x.device)
    spectrum = torch.fft.rfft(read_stretches(x, position, n_fft).mul_(window))
    before = torch.fft.rfft(read_stretches(x, position - hop, n_fft).mul_(window))
    # Real and imaginary parts lie apart from here on: torch has vector code for real tensors only, four times as fast on a CPU.
    real, imaginary = spectrum.real.contiguous(), spectrum.imag.contiguous()
    power = real.square() + imaginary.square()
    attack = attacks(power, before.real.square() + before.imag.square())
    turned = spectrum.mul_(before.conj())
    advance = torch.atan2(turned.imag.contiguous(), turned.real.contiguous())
    phase = accumulate_phase(advance, torch.atan2(imaginary, real), attack)
    magnitude = power.sqrt_()
    frames = torch.fft.irfft(torch.complex(magnitude * phase.cos(), magnitude * phase.sin()), n=n_fft).mul_(window)
    return overlap_add(frames, hop)[:, (OVERLAP - 1) * hop :][:, :length]


def attacks(power: Tensor, power_before: Tensor) -> Tensor:
    """Frames in which a sound sets on: more than half of the bins [B, N, Q] rose by 3 dB or more within one hop. bool [B, N]."""
    # Beside a pure tone most bins hold nothing but rounding and quantisation errors, which rise and fall at random.
    floor = power.mean(dim=(1, 2), keepdim=True) * ATTACK_FLOOR
    return (power > ATTACK_RATIO * power_before + floor).float().mean(dim=-1) > 0.5


def accumulate_phase(advance: Tensor, own: Tensor, attack: Tensor) -> Tensor:
    """Add up phases over frames, beginning with the input's own in the first frame and wherever a sound attacks.

    Args:
        advance: phase of each bin gained since the frame before, radians, [B, N, Q].
        own: phase of the input's frame, radians, [B, N, Q].
        attack: frames that start anew, bool [B, N].

    Returns:
        Phase of the output's frame, radians, [B, N, Q].
    """
    total = advance.cumsum(dim=1)
    num_examples, num_frames = attack.shape
    frame = torch.arange(num_frames, device=attack.device)
    latest = torch.where(attack, frame, 0).cummax(dim=1).values
    row = torch.arange(num_examples, device=attack.device).unsqueeze(1) * num_frames
    correction = (own - total).flatten(0, 1).index_select(0, (latest + row).flatten())
    return total.add_(correction.view_as(total))


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add frames that were windowed by a Hann window twice, ``OVERLAP`` of them over each sample.

    Args:
        frames: float [B, N, OVERLAP * hop].
        hop: samples between frames.

    Returns:
        float [B, N * hop]: complete from sample (OVERLAP - 1) * hop on.
    """
    parts = frames.unflatten(-1, (OVERLAP, hop))
    total = parts[:, :, 0].clone()
    for late in range(1, OVERLAP):
        total[:, late:] += parts[:, :-late, late]
    # The squares of a Hann window add up to 3/8 of the number of windows.
    return total.flatten(1) / (0.375 * OVERLAP)


class TimeStretch(Augmentation):
    """Play faster or slower at the same pitch: other breathing rates. What is missing is filled by repeating the clip.

    Args:
        sample_rate: Hz.
        rate: range of the speed; 2 takes half the time. Drawn so that its logarithm is uniform.
        window_s: length of the vocoder's frames, seconds; a longer one keeps nearer tones apart and places attacks less exactly.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, sample_rate: int, rate: tuple[float, float] = (0.8, 1.25), window_s: float = 0.064, p: float = 1.0) -> None:
        super().__init__(p)
        self.sample_rate = sample_rate
        self.rate = checked_range(self, "rate", rate, low=0.1, high=10)
        self.n_fft = frame_samples(window_s, sample_rate)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"rate": random.log_uniform(*self.rate)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return vocode(x, draw["rate"], x.shape[-1], self.n_fft)


class PitchShift(Augmentation):
    """Multiply every frequency, at the same tempo: other sizes of airways. A stretch by the ratio, then played faster by it.

    Args:
        sample_rate: Hz.
        semitones: range of the shift; 12 doubles every frequency.
        window_s: length of the vocoder's frames, seconds, as in `TimeStretch`.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, sample_rate: int, semitones: tuple[float, float] = (-2.0, 2.0), window_s: float = 0.064, p: float = 1.0) -> None:
        super().__init__(p)
        self.sample_rate = sample_rate
        self.semitones = checked_range(self, "semitones", semitones, low=-24, high=24)
        self.n_fft = frame_samples(window_s, sample_rate)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"semitones": random.uniform(*self.semitones)}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        ratio = torch.exp2(draw["semitones"] / 12)
        max_ratio = 2 ** (self.semitones[1] / 12)
        stretched = vocode(x, 1 / ratio, smooth_length(math.ceil(x.shape[-1] * max_ratio)), self.n_fft)
        return play(stretched, ratio, x.shape[-1], max_ratio)


def smooth_length(length: int) -> int:
    """The least number from ``length`` on that is a power of two times a factor up to 16: a Fourier transform of it is fast."""
    unit = 2 ** max(length.bit_length() - 4, 0)
    return -(-length // unit) * unit


def frame_samples(window_s: float, sample_rate: int) -> int:
    """Samples of a vocoder frame: the power of two nearest to ``window_s`` seconds, at least 16.

    Raises:
        UserError: the window is not positive.
    """
    if window_s <= 0:
        raise UserError(f"window_s is {window_s}, expected seconds above 0, for example 0.064.")
    return max(2 ** round(math.log2(window_s * sample_rate)), 16)

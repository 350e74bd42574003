"""Whether two recordings are the same sound: the coherence of their overlap, which only a copy has.

Two breaths of one patient look alike in a spectrogram, but their phases have nothing to do with each other. A copy keeps its phases
through gain, equalisation, resampling, trimming and re-encoding, bin by bin, so the magnitude-squared coherence is near 1 wherever
the sound is louder than what was added. Mains hum is coherent too, but in few bins: the median over bins does not see it. Two clicks
are coherent as well, and one loud click outweighs minutes of breath: so every frame is first scaled to equal power.

Reference: Carter, Knapp and Nuttall 1973, "Estimation of the magnitude-squared coherence function via overlapped FFT processing",
IEEE Transactions on Audio and Electroacoustics 21(4), equation 2.
"""

import numpy as np
import torch
from torch import Tensor

from finetune.guard.landmarks import HOP as LANDMARK_HOP
from finetune.guard.landmarks import RATE

# 64 ms long, every 32 ms: the bins from 78 to 594 Hz, where breath is loudest.
WINDOW, HOP = 256, 128
BINS = slice(5, 39)
# Shorter overlaps have too few frames to tell chance from copy.
SHORTEST_S = 1.0
# A minute is enough to tell.
LONGEST_S = 60.0
# Of the candidates among 1949 recordings of children's breath (SPRSound) none reached 0.04. Copies of 130 of them, cut and at another
# rate with noise at 30 dB SNR, had 0.43 or more; with noise at 20 dB all but one were above the limit.
LIMIT = 0.25


def coherence(one: Tensor, other: Tensor, lag: int) -> tuple[float, float]:
    """Median coherence over bins of the overlap of two recordings.

    Args:
        one: float32 [T] at `RATE`.
        other: float32 [T'] at `RATE`.
        lag: frames of `landmarks`, about: what ``other`` has at t, ``one`` has at t + lag.

    Returns:
        The median of |Σ X conj(Y)|² / (Σ|X|² Σ|Y|²) over bins, the sums over frames, 0 to 1; and the overlap, s. Both are 0 where the
        overlap is shorter than `SHORTEST_S`.
    """
    shift = lag * LANDMARK_HOP
    one, other = one[max(0, shift) :], other[max(0, -shift) :]
    samples = min(len(one), len(other), int(LONGEST_S * RATE))
    if samples < SHORTEST_S * RATE:
        return 0.0, 0.0
    fine = _fine_lag(one[:samples], other[:samples])
    one, other = one[max(0, fine) :], other[max(0, -fine) :]
    samples = min(len(one), len(other), samples)
    x, y = _spectrum(one[:samples]), _spectrum(other[:samples])
    power = (x.abs() ** 2).sum(1) * (y.abs() ** 2).sum(1)
    cross = (x * y.conj()).sum(1).abs() ** 2
    return float((cross / power.clamp_min(torch.finfo(power.dtype).tiny)).median()), samples / RATE


def _spectrum(waveform: Tensor) -> Tensor:
    """Short-time spectrum of [T] in `BINS`, every frame of equal power: complex [F, N]."""
    spectrum = torch.stft(waveform, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True)[BINS]
    return spectrum / torch.linalg.vector_norm(spectrum, dim=0).clamp_min(torch.finfo(torch.float32).tiny)


def _fine_lag(one: Tensor, other: Tensor) -> int:
    """Samples, within three frames of landmarks, by which ``one`` is behind: the peak of the phase-transformed cross-correlation."""
    size = 2 ** int(np.ceil(np.log2(len(one) + len(other))))
    # A click at the end of one that the other lacks would otherwise be most of its spectrum.
    one, other = (waveform.clamp(-limit, limit) for waveform in (one, other) for limit in [float(3 * waveform.abs().median())])
    cross = torch.fft.rfft(one, size) * torch.fft.rfft(other, size).conj()
    # Only where breath is loud: elsewhere the phases are those of noise.
    first, last = (int(bin_ * size / WINDOW) for bin_ in (BINS.start, BINS.stop))
    phase = torch.zeros_like(cross)
    phase[first:last] = cross[first:last] / cross[first:last].abs().clamp_min(torch.finfo(torch.float32).tiny)
    correlation = torch.fft.irfft(phase, size)
    reach = 3 * LANDMARK_HOP
    near = torch.cat([correlation[-reach:], correlation[: reach + 1]])
    return int(near.abs().argmax()) - reach

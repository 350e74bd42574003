"""One resampler for training and serving: band-limited, with the same settings wherever a rate changes.

torchaudio's default leaves the alias just above the Nyquist frequency at -10 dB; these settings (a long Kaiser window) bring it
to -145 dB, as good as soxr's HQ.
"""

from functools import lru_cache
from math import gcd

import torch
import torchaudio
from torch import Tensor

from common.errors import UserError

LOWPASS_FILTER_WIDTH = 64
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492
# The polyphase kernel of two rates with no common divisor grows with their product: 44101 to 16000 Hz would take 3 GB.
MAX_KERNEL_NUMBERS = 2**25


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Resample ``waveform`` [..., T] from ``from_hz`` to ``to_hz``; returns [..., ceil(T to_hz / from_hz)].

    Raises:
        UserError: the two rates have no usable common divisor, so that the filter would not fit into memory.
    """
    if from_hz == to_hz:
        return waveform
    if from_hz <= 0 or kernel_numbers(from_hz, to_hz) > MAX_KERNEL_NUMBERS:
        raise UserError(f"Cannot resample from {from_hz} to {to_hz} Hz: no usable common divisor; convert the file to a common rate first.")
    return _resampler_on(from_hz, to_hz, waveform.device)(waveform)


def resampler(from_hz: int, to_hz: int) -> torchaudio.transforms.Resample:
    """Resamples as `resample`, and holds the filter, which takes as long to compute as ten seconds of audio to filter."""
    return torchaudio.transforms.Resample(
        from_hz,
        to_hz,
        lowpass_filter_width=LOWPASS_FILTER_WIDTH,
        rolloff=ROLLOFF,
        resampling_method="sinc_interp_kaiser",
        beta=KAISER_BETA,
    )


@lru_cache(maxsize=8)
def _resampler_on(from_hz: int, to_hz: int, device: torch.device) -> torchaudio.transforms.Resample:
    return resampler(from_hz, to_hz).to(device)


def kernel_numbers(from_hz: int, to_hz: int) -> int:
    """How many numbers the polyphase filter between two rates holds."""
    divisor = gcd(from_hz, to_hz)
    source, target = from_hz // divisor, to_hz // divisor
    width = LOWPASS_FILTER_WIDTH * source / (min(source, target) * ROLLOFF)
    return int(target * (2 * width + source))


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Number of samples that `resample` returns for ``length`` samples."""
    return -(-length * to_hz // from_hz)

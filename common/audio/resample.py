"""One resampler for training and serving: band-limited, with the same settings wherever a rate changes.

torchaudio's default leaves the alias just above the Nyquist frequency at -10 dB; these settings (a long Kaiser window) bring it
to -145 dB, as good as soxr's HQ.
"""

from functools import lru_cache
from math import gcd

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from common.errors import UserError

LOWPASS_FILTER_WIDTH = 64
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492
# The polyphase kernel of two rates with no common divisor grows with their product: 44101 to 16000 Hz would take 3 GB.
MAX_KERNEL_NUMBERS = 2**25
# Samples by which a filter moves on, of the input or of the output, whichever has more: below it most of the time goes into moving
# samples about, above it into zeros.
STEP_SAMPLES = 192


class Resampler(nn.Module):
    """Resamples as `torchaudio.transforms.Resample` does, up to rounding, and up to ten times as fast where the rates are as small numbers.

    torchaudio convolves with one kernel per phase: from 48 to 4 kHz a single one of 1634 taps, at a stride of 12 samples. Here a kernel is
    there several times, each a period later, so that one step of the convolution gives some 200 samples. The module holds its filter, which
    takes as long to compute as ten seconds of audio to filter.

    Args:
        from_hz: rate of the input.
        to_hz: rate of the output.

    Shape:
        [..., T] float32 -> [..., ceil(T to_hz / from_hz)].
    """

    taps: Tensor

    def __init__(self, from_hz: int, to_hz: int) -> None:
        super().__init__()
        of_torchaudio = torchaudio.transforms.Resample(
            from_hz,
            to_hz,
            lowpass_filter_width=LOWPASS_FILTER_WIDTH,
            rolloff=ROLLOFF,
            resampling_method="sinc_interp_kaiser",
            beta=KAISER_BETA,
        )
        divisor = gcd(from_hz, to_hz)
        source, target = from_hz // divisor, to_hz // divisor
        kernel = of_torchaudio.kernel[:, 0]
        periods = max(1, STEP_SAMPLES // max(source, target))
        self.source, self.target, self.before = source * periods, target * periods, of_torchaudio.width
        taps = kernel.new_zeros(periods, target, kernel.shape[1] + (periods - 1) * source)
        for period in range(periods):
            taps[period, :, period * source : period * source + kernel.shape[1]] = kernel
        self.register_buffer("taps", taps.view(self.target, 1, taps.shape[2]))

    def forward(self, waveform: Tensor) -> Tensor:
        shape = list(waveform.shape)
        samples = shape[-1]
        rows = 1
        for size in shape[:-1]:
            rows *= size
        # The last step begins within the waveform, and ends a step and a filter's width after it at most.
        padded = pad(waveform.reshape(rows, 1, samples), [self.before, self.before + self.source])
        resampled = conv1d(padded, self.taps, stride=self.source).transpose(1, 2).flatten(1)
        shape[-1] = (samples * self.target + self.source - 1) // self.source
        return resampled[:, : shape[-1]].reshape(shape)


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


@lru_cache(maxsize=8)
def _resampler_on(from_hz: int, to_hz: int, device: torch.device) -> Resampler:
    return Resampler(from_hz, to_hz).to(device)


def kernel_numbers(from_hz: int, to_hz: int) -> int:
    """How many numbers the polyphase filter between two rates holds."""
    divisor = gcd(from_hz, to_hz)
    source, target = from_hz // divisor, to_hz // divisor
    width = LOWPASS_FILTER_WIDTH * source / (min(source, target) * ROLLOFF)
    return int(target * (2 * width + source))


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Number of samples that `resample` returns for ``length`` samples."""
    return -(-length * to_hz // from_hz)

"""One resampler for training and serving: band-limited, with the same settings wherever a rate changes.

A sinc in a long Kaiser window, evaluated at the phases of the two rates' ratio (Smith, "Digital Audio Resampling"); the settings keep
aliases at -145 dB, as good as soxr's HQ. It is `torchaudio.functional.resample` with "sinc_interp_kaiser" and these constants, but for two
things. torchaudio rounds the phases to float32, which leaves images of the sound above its Nyquist frequency, at -104 dB from 11.025 to 32
kHz, and a network that hears the logarithm of the power hears them; here phases are in float64, and it is -148 dB. And torchaudio's is up
to ten times as slow where the ratio is one of small numbers, see `polyphase_filter`.

Written in TorchScript's subset of Python, since the exported file contains these functions; that reads no global numbers, only defaults.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from common.errors import UserError

LOWPASS_FILTER_WIDTH = 64
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492
# The polyphase kernel of two rates with no common divisor grows with their product: 44101 to 16000 Hz have 7e8 numbers, and some 30 bytes
# are taken for each while it is made.
MAX_KERNEL_NUMBERS = 2**24
# Samples by which a filter moves on, of the input or of the output, whichever has more: below it most of the time goes into moving
# samples about, above it into zeros.
STEP_SAMPLES = 192


class Resampler(nn.Module):
    """Resamples as `resample`, and holds the filter, which takes as long to compute as ten seconds of audio to filter.

    Args:
        from_hz: rate of the input.
        to_hz: rate of the output.

    Shape:
        [..., T] float32 -> [..., ceil(T to_hz / from_hz)].
    """

    taps: Tensor

    def __init__(self, from_hz: int, to_hz: int) -> None:
        super().__init__()
        divisor = math.gcd(from_hz, to_hz)
        self.source, self.target = from_hz // divisor, to_hz // divisor
        self.register_buffer("taps", polyphase_filter(self.source, self.target))

    def forward(self, waveform: Tensor) -> Tensor:
        return filtered(waveform, self.taps, self.source, self.target)


def polyphase_filter(
    source: int,
    target: int,
    lowpass_filter_width: int = LOWPASS_FILTER_WIDTH,
    rolloff: float = ROLLOFF,
    beta: float = KAISER_BETA,
    step_samples: int = STEP_SAMPLES,
) -> Tensor:
    """The filter between rates that are as ``source`` to ``target``, which have no common divisor: float32 [P target, 1, 2 W + P source],
    with W samples on either side of P periods.

    A kernel of 2 W + ``source`` taps per phase, of which there are ``target``, is all that it takes: from 48 to 4 kHz a single one of 1634
    taps, at a stride of 12 samples, and moving samples about takes most of the time. So they are there P times, each a period later, and a
    step of the convolution gives some 200 samples.
    """
    base = min(source, target) * rolloff
    width = _width(source, target)
    index = torch.arange(-width, width + source, dtype=torch.float64) / source
    phase = torch.arange(0, -target, -1, dtype=torch.float64) / target
    crossings = ((index + phase.unsqueeze(1)) * base).clamp(-lowpass_filter_width, lowpass_filter_width)
    window = torch.i0(beta * torch.sqrt(1 - (crossings / lowpass_filter_width) ** 2)) / torch.i0(torch.tensor(beta, dtype=torch.float64))
    kernel = (torch.sinc(crossings) * window * (base / source)).to(torch.float32)
    periods = max(1, step_samples // max(source, target))
    taps = torch.zeros([periods, target, 2 * width + periods * source])
    for period in range(periods):
        taps[period, :, period * source : period * source + kernel.shape[1]] = kernel
    return taps.view(periods * target, 1, taps.shape[2])


def filtered(waveform: Tensor, taps: Tensor, source: int, target: int) -> Tensor:
    """``waveform`` [..., T], resampled by the `polyphase_filter` of the two rates: [..., ceil(T target / source)]."""
    shape = list(waveform.shape)
    samples = shape[-1]
    rows = 1
    for size in shape[:-1]:
        rows *= size
    width, step = _width(source, target), taps.shape[0] // target * source
    # The last step begins within the waveform, and ends a step and a filter's width after it at most.
    padded = pad(waveform.reshape(rows, 1, samples), [width, width + step])
    resampled = conv1d(padded, taps, stride=step).transpose(1, 2).flatten(1)
    shape[-1] = (samples * target + source - 1) // source
    return resampled[:, : shape[-1]].reshape(shape)


def _width(source: int, target: int, lowpass_filter_width: int = LOWPASS_FILTER_WIDTH, rolloff: float = ROLLOFF) -> int:
    """Samples on either side of a period that its filter reaches."""
    return math.ceil(lowpass_filter_width * source / (min(source, target) * rolloff))


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Resample ``waveform`` [..., T] from ``from_hz`` to ``to_hz``; returns [..., ceil(T to_hz / from_hz)].

    Raises:
        UserError: the two rates have no usable common divisor, so that the filter would not fit into memory.
    """
    if from_hz == to_hz:
        return waveform
    if min(from_hz, to_hz) <= 0 or kernel_numbers(from_hz, to_hz) > MAX_KERNEL_NUMBERS:
        raise UserError(f"Cannot resample from {from_hz} to {to_hz} Hz: no usable common divisor; convert the file to a common rate first.")
    return _resampler_on(from_hz, to_hz, waveform.device)(waveform)


@lru_cache(maxsize=8)
def _resampler_on(from_hz: int, to_hz: int, device: torch.device) -> Resampler:
    return Resampler(from_hz, to_hz).to(device)


def kernel_numbers(from_hz: int, to_hz: int) -> int:
    """How many numbers one period's kernel between two rates holds."""
    divisor = math.gcd(from_hz, to_hz)
    source, target = from_hz // divisor, to_hz // divisor
    return target * (2 * _width(source, target) + source)


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Number of samples that `resample` returns for ``length`` samples."""
    return -(-length * to_hz // from_hz)

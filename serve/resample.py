"""Band-limited resampling in numpy, for models that take one rate only: the same filter as inside ``model.pt``.

A sinc in a Kaiser window, evaluated at the phases of the two rates' ratio (Smith, "Digital Audio Resampling"), with the constants and in
the precision of the TorchScript file; so both files of a bundle hear the same waveform.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np

from serve.errors import Refusal

LOWPASS_FILTER_WIDTH = 64
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492
# The filter of two rates with no common divisor grows with their product: 44101 to 16000 Hz have 7e8 numbers.
MAX_KERNEL_NUMBERS = 2**24
# Samples by which the filter moves on, of the input or of the output, whichever has more.
STEP_SAMPLES = 192
# Frames that are filtered at once: their overlapping copies are what takes memory.
FRAMES_AT_ONCE = 1024


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample float32 [B, T] to [B, ceil(T to_hz / from_hz)].

    Raises:
        Refusal: the two rates have no usable common divisor.
    """
    if from_hz == to_hz:
        return waveform
    divisor = gcd(from_hz, to_hz)
    source, target = from_hz // divisor, to_hz // divisor
    if target * (2 * _width(source, target) + source) > MAX_KERNEL_NUMBERS:
        raise Refusal("unsupported_rate", f"{from_hz} Hz has no usable common divisor with the model's {to_hz} Hz.")
    kernel, width, step = _kernel(source, target)
    length = waveform.shape[1]
    padded = np.pad(waveform, ((0, 0), (width, width + step)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[0], axis=1)[:, ::step]
    filtered = [
        frames[:, first : first + FRAMES_AT_ONCE] @ kernel  # [B, frames, step + 2 width] @ [step + 2 width, step target / source]
        for first in range(0, frames.shape[1], FRAMES_AT_ONCE)
    ]
    return np.concatenate(filtered, axis=1).reshape(len(waveform), -1)[:, : -(-length * target // source)]


@lru_cache(maxsize=8)
def _kernel(source: int, target: int) -> tuple[np.ndarray, int, int]:
    """Filter float32 [2 width + step, columns], its width on either side, and the step: the samples by which it moves on.

    A column per phase, ``target`` of them, for each period of ``source`` samples that is in a step: of small rates several, since products
    of matrices of a few columns are slow.
    """
    base, width = min(source, target) * ROLLOFF, _width(source, target)
    index = np.arange(-width, width + source, dtype=np.float64) / source
    phase = np.arange(0, -target, -1, dtype=np.float64) / target
    t = ((index[:, np.newaxis] + phase) * base).clip(-LOWPASS_FILTER_WIDTH, LOWPASS_FILTER_WIDTH)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (t / LOWPASS_FILTER_WIDTH) ** 2)) / np.i0(KAISER_BETA)
    phases = (np.sinc(t) * window * base / source).astype(np.float32)
    periods = max(1, STEP_SAMPLES // max(source, target))
    step = periods * source
    kernel = np.zeros((2 * width + step, periods, target), dtype=np.float32)
    for period in range(periods):
        kernel[period * source : period * source + len(phases), period] = phases
    return kernel.reshape(len(kernel), -1), width, step


def _width(source: int, target: int) -> int:
    """Samples on either side of a period that its filter reaches."""
    return ceil(LOWPASS_FILTER_WIDTH * source / (min(source, target) * ROLLOFF))

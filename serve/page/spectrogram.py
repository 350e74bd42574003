"""A spectrogram to look at: level in dB over time and frequency, of bounded size for recordings of any length."""

from dataclasses import dataclass, field

import numpy as np

WINDOW_S = 0.064
COLUMNS = 1000
BLOCK = 4096
RANGE_DB = 70.0
# A click of the diaphragm may be 40 dB above the breathing, and would leave it black: the loudest hundredth of the columns goes over the
# top, by so much at most.
LOUD_SHARE, MOST_OVER_DB = 0.99, 30.0


@dataclass(frozen=True)
class Spectrogram:
    """Levels in dB, [F, N], at least -`RANGE_DB`, with the recording's and the band's ends; of the loudest moments above 0."""

    levels_db: np.ndarray = field(repr=False)
    duration_s: float
    top_hz: float


def spectrogram(waveform: np.ndarray, sample_rate: int, band_hz: float) -> Spectrogram:
    """Power of Hann windows of 64 ms, averaged into at most 1000 columns.

    Args:
        waveform: finite float32 [T].
        sample_rate: Hz.
        band_hz: highest frequency to show, Hz; lower where the recording has none so high.
    """
    size = max(int(2 ** np.round(np.log2(WINDOW_S * sample_rate))), 16)
    top_hz = min(band_hz, sample_rate / 2)
    bins = int(top_hz * size / sample_rate) + 1
    padded = np.pad(waveform, size // 2)
    # Half-overlapping windows are enough where several fall into one column anyway.
    hop = max(min(size // 2, len(waveform) // COLUMNS), 1)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    columns = min(COLUMNS, len(frames))
    column_of = np.arange(len(frames)) * columns // len(frames)
    power = np.zeros((columns, bins))
    taper = np.hanning(size + 1)[:-1].astype(np.float32)
    for begin in range(0, len(frames), BLOCK):
        spectra = np.fft.rfft(frames[begin : begin + BLOCK] * taper, axis=1)[:, :bins]
        np.add.at(power, column_of[begin : begin + BLOCK], np.abs(spectra) ** 2)
    power /= np.bincount(column_of)[:, np.newaxis]
    loud = max(np.quantile(power.max(axis=1), LOUD_SHARE), power.max() * 10 ** (-MOST_OVER_DB / 10), 1e-20)
    levels = 10 * np.log10(np.maximum(power / loud, 10 ** (-RANGE_DB / 10)))
    return Spectrogram(levels.T, len(waveform) / sample_rate, top_hz)

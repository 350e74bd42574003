"""Gammatone spectrogram: filters with the shape and the bandwidth of the ear's."""

import numpy as np

from common.frontends.base import LogCompression, Normalise
from common.frontends.filterbank import Engine, FilterbankFrontEnd, PowerSpectrum, check_filterbank


class Gammatone(FilterbankFrontEnd):
    """Log of the power that fourth-order gammatone filters pass: waveforms [B, T] to [B, 1, num_filters, 1 + T // hop].

    Args:
        sample_rate: Hz.
        n_fft: samples per frame; 256 at 4 kHz are 64 ms.
        hop: samples between frames; 64 at 4 kHz are 16 ms.
        num_filters: F.
        f_min_hz: centre of the lowest filter, Hz.
        f_max_hz: where one more filter would have its centre, Hz; half the sample rate where None.
        engine: "fft", "nnaudio" or "auto" (the faster on each device), see `PowerSpectrum`.
        normalise: "clip" (each clip to mean 0, deviation 1) or "none", see `LogCompression`.
        floor_db: added inside the logarithm, dB, see `LogCompression`.

    Raises:
        ValueError: a band beyond half the sample rate.
    """

    def __init__(
        self,
        sample_rate: int = 4000,
        n_fft: int = 256,
        hop: int = 64,
        num_filters: int = 64,
        f_min_hz: float = 50.0,
        f_max_hz: float | None = None,
        engine: Engine = "auto",
        normalise: Normalise = "clip",
        floor_db: float | None = None,
    ) -> None:
        f_max_hz = sample_rate / 2 if f_max_hz is None else f_max_hz
        weights = gammatone_weights(sample_rate, n_fft, num_filters, f_min_hz, f_max_hz)
        power_spectrum = PowerSpectrum(n_fft, hop, engine)
        super().__init__(sample_rate, power_spectrum, weights, f_min_hz, f_max_hz, LogCompression(normalise, floor_db))


def gammatone_weights(sample_rate: int, n_fft: int, num_filters: int, f_min_hz: float, f_max_hz: float) -> np.ndarray:
    """Share of the power at each bin of the FFT that each filter passes, float32 [num_filters, 1 + n_fft // 2], 1 at the peaks.

    nnAudio's matrix (after D. Ellis, "Gammatone-like spectrograms", 2009) holds the filters' magnitude responses |H(f)| over
    ``n_fft``, and its Gammatonegram weights the power with them; the power behind a filter is that before it times |H(f)|^2.

    Raises:
        ValueError: a setting out of range.
    """
    from nnAudio.librosa_functions import get_gammatone

    check_filterbank(sample_rate, n_fft, num_filters, f_min_hz, f_max_hz)
    magnitude = get_gammatone(sample_rate, n_fft, num_filters, f_min_hz, f_max_hz) * n_fft
    return np.square(magnitude)

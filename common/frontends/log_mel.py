"""Log-mel spectrogram."""

import warnings

import numpy as np

from common.frontends.base import LogCompression, Normalise
from common.frontends.filterbank import Engine, FilterbankFrontEnd, PowerSpectrum, check_filterbank


class LogMel(FilterbankFrontEnd):
    """Log of the power in mel bands: waveforms [B, T] to [B, 1, num_mels, 1 + T // hop].

    Slaney's mel scale (linear below 1 kHz) with triangles of equal area, as librosa and nnAudio have by default.

    Args:
        sample_rate: Hz. 4 kHz holds the band in which wheezes and crackles are heard (about 60 to 2000 Hz).
        n_fft: samples per frame; 256 at 4 kHz are 64 ms, which resolve 16 Hz.
        hop: samples between frames; 64 at 4 kHz are 16 ms, about the length of a crackle.
        num_mels: F.
        f_min_hz: lower edge of the lowest band, Hz; 50 Hz leaves out handling noise and mains hum.
        f_max_hz: upper edge of the highest band, Hz; half the sample rate where None.
        engine: "fft", "nnaudio" or "auto" (the faster on each device), see `PowerSpectrum`.
        normalise: "clip" (each clip to mean 0, deviation 1) or "none", see `LogCompression`.
        floor_db: added inside the logarithm, dB, see `LogCompression`.

    Raises:
        ValueError: a band beyond half the sample rate, or more mels than the bins of the FFT can fill.
    """

    def __init__(
        self,
        sample_rate: int = 4000,
        n_fft: int = 256,
        hop: int = 64,
        num_mels: int = 64,
        f_min_hz: float = 50.0,
        f_max_hz: float | None = None,
        engine: Engine = "auto",
        normalise: Normalise = "clip",
        floor_db: float | None = None,
    ) -> None:
        f_max_hz = sample_rate / 2 if f_max_hz is None else f_max_hz
        weights = mel_weights(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
        power_spectrum = PowerSpectrum(n_fft, hop, engine)
        super().__init__(sample_rate, power_spectrum, weights, f_min_hz, f_max_hz, LogCompression(normalise, floor_db))


def mel_weights(sample_rate: int, n_fft: int, num_mels: int, f_min_hz: float, f_max_hz: float) -> np.ndarray:
    """nnAudio's mel filter bank, float32 [num_mels, 1 + n_fft // 2], in which no filter may be empty.

    Raises:
        ValueError: naming the first filter that covers no bin of the FFT, or the setting out of range.
    """
    from nnAudio.librosa_functions import get_mel, mel_frequencies

    check_filterbank(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = get_mel(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
    empty = np.flatnonzero(weights.max(axis=1) <= 0)
    if len(empty):
        edges = mel_frequencies(num_mels + 2, fmin=f_min_hz, fmax=f_max_hz)
        first = f"band {empty[0]} ({edges[empty[0]]:.0f} to {edges[empty[0] + 2]:.0f} Hz)"
        raise ValueError(
            f"{len(empty)} of {num_mels} mel bands hold no bin of the FFT, the first is {first}: bins are "
            f"{sample_rate / n_fft:.1f} Hz apart; take fewer mels than num_mels = {num_mels} or more samples than n_fft = {n_fft}"
        )
    return weights

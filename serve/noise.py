"""Steady noise alone: a recording in which nothing rises and falls as breaths and heartbeats do.

How much the energy of Gaussian noise varies from frame to frame is known: by 1 / (B T) of its squared mean, for a statistical bandwidth B
and frames of length T, whatever the noise's colour. Breaths and heartbeats vary by many times that in some octave; a microphone that lies
on a table does not.

Reference:
    Bendat and Piersol, Random Data (4th edition, Wiley, 2010), chapter 8: the random error of mean square values, and the statistical
    bandwidth (sum G)^2 / sum G^2 of a spectral density G.
"""

import numpy as np

# The warning in an answer.
NOISE_ONLY = "noise_only"
FRAME_S = 0.25
# Octaves in which breaths and heartbeats are heard, Hz.
OCTAVES_HZ = ((62.5, 125.0), (125.0, 250.0), (250.0, 500.0), (500.0, 1000.0))
# A shorter recording may lie within one breath.
LEAST_S = 4.0
# Of 2,400 made noises of four colours the highest had 2.3; of 1,948 recordings of SPRSound the lowest had 12.6.
LIMIT = 4.0
# More is averaged down to about this rate: nothing above 1000 Hz is looked at.
RATE_HZ = 8000


def is_steady_noise(waveform: np.ndarray, sample_rate: int) -> bool:
    """Whether no octave of a recording varies by more than noise does; a recording under 4 s is not judged.

    Args:
        waveform: float32 [T].
        sample_rate: Hz.
    """
    if len(waveform) < LEAST_S * sample_rate:
        return False
    found = fluctuation(waveform, sample_rate)
    return bool(np.isfinite(found).any() and np.nanmax(found) < LIMIT)


def fluctuation(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Variance of each octave's energy over frames as a multiple of what it is for Gaussian noise of the same spectrum.

    Args:
        waveform: float32 [T], at least two frames.
        sample_rate: Hz.

    Returns:
        [4], about 1 for noise of any colour; NaN for an octave that is empty, or beyond half of the rate.
    """
    waveform = np.nan_to_num(waveform, nan=0.0, posinf=0.0, neginf=0.0)
    if (times := sample_rate // RATE_HZ) > 1:
        waveform = waveform[: len(waveform) // times * times].reshape(-1, times) @ np.full(times, 1 / times, np.float32)
    rate = sample_rate / max(times, 1)
    size = round(FRAME_S * rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    spectra = np.fft.rfft(frames * window, axis=1)
    frequency = np.fft.rfftfreq(size, 1 / rate)
    # A tapered frame counts for less than its length: for Hann's window 1 / 1.94 of it.
    taper = size * np.sum(window**4) / np.sum(window**2) ** 2
    found = np.full(len(OCTAVES_HZ), np.nan)
    for row, (low, high) in enumerate(OCTAVES_HZ):
        band = (frequency >= low) & (frequency < high)
        power = np.abs(spectra[:, band]) ** 2
        mean = power.mean(axis=0)
        if high > rate / 2 or not mean.sum() > 0:
            continue
        bandwidth_hz = mean.sum() ** 2 / np.sum(mean**2) / FRAME_S
        energy = power.sum(axis=1)
        found[row] = energy.var() / energy.mean() ** 2 * bandwidth_hz * FRAME_S / taper
    return found

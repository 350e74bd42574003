"""The single sounds of a made recording, each as samples in a numpy array, drawn from a given generator.

The definitions follow the ATS (1977) and CORSA (Sovijarvi et al., European Respiratory Review 10:77, 2000) terms. A wheeze is
continuous and tonal, dominant frequency above 100 Hz, longer than 80 to 100 ms. A crackle is a short explosive sound,
described by the width of its first deflection (IDW) and of its first two cycles (2CD): fine 0.7 ms and 5 ms (ATS), coarse
1.5 ms and 10 ms (ATS), with 2CD above 10 ms coarse and 15 ms at most in CORSA.
"""

import numpy as np
from numpy.random import Generator

FINE_CRACKLE = (0.0007, 0.005)
COARSE_CRACKLE = (0.0015, 0.0125)


def coloured_noise(rng: Generator, num_samples: int, sample_rate: int, tilt_db_per_octave: float, corner_hz: float) -> np.ndarray:
    """Gaussian noise of unit RMS, flat from 60 Hz to ``corner_hz`` and falling by ``tilt_db_per_octave`` above, [T].

    Normal breath sounds have this shape: most energy below 200 to 400 Hz, then a fall of about 10 dB per octave and more
    (Gavriely et al., 1981).
    """
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / sample_rate)
    gain_db = -tilt_db_per_octave * np.log2(np.maximum(frequency, corner_hz) / corner_hz)
    gain = 10 ** (gain_db / 20) * (frequency / 60) ** 2 / (1 + (frequency / 60) ** 2)
    noise = np.fft.irfft(spectrum * gain, num_samples)
    return noise / (noise.std() + 1e-12)


def wheeze(rng: Generator, duration_s: float, sample_rate: int) -> np.ndarray:
    """A tone of 120 to 700 Hz with harmonics, a glide and a slow vibrato, of peak 1, [T]."""
    time = np.arange(int(duration_s * sample_rate)) / sample_rate
    fundamental_hz = np.exp(rng.uniform(np.log(120), np.log(700)))
    glide = 1 + rng.uniform(-0.12, 0.12) * time / duration_s
    vibrato = 1 + rng.uniform(0, 0.015) * np.sin(2 * np.pi * rng.uniform(3, 7) * time)
    frequency = fundamental_hz * glide * vibrato
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    decay = rng.uniform(0.1, 0.5)
    tone = np.zeros_like(time)
    for harmonic in (1, 2, 3):
        # Harmonics end at 1000 Hz, above which the chest wall passes little of them, and well below the Nyquist frequency.
        if harmonic == 1 or frequency.max() * harmonic < min(1000, 0.45 * sample_rate):
            tone += decay ** (harmonic - 1) * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    fade = np.clip(np.minimum(time, duration_s - time) / min(0.03, duration_s / 4), 0, 1)
    tone *= np.sin(np.pi / 2 * fade) ** 2
    return tone / np.abs(tone).max()


def crackle(sample_rate: int, initial_deflection_s: float, two_cycles_s: float) -> np.ndarray:
    """One crackle of peak 1: two cycles that widen under a window that rises fast and falls slowly, [T].

    y(t) = sin(4 pi t^a) (1 + cos(2 pi (sqrt(t) - 1/2))) / 2 with a = log(1/4) / log(IDW / 2CD), for t in [0, 1] times 2CD: its
    first zero crossing lies at IDW and its second cycle ends at 2CD.

    Reference: Kiyokawa et al., "Auditory detection of simulated crackles in breath sounds", Chest 119:1886, 2001.
    """
    time = np.arange(1, max(int(two_cycles_s * sample_rate), 4)) / max(int(two_cycles_s * sample_rate), 4)
    exponent = np.log(0.25) / np.log(initial_deflection_s / two_cycles_s)
    wave = np.sin(4 * np.pi * time**exponent) * 0.5 * (1 + np.cos(2 * np.pi * (np.sqrt(time) - 0.5)))
    return wave / np.abs(wave).max()


def heart_sound(rng: Generator, sample_rate: int) -> np.ndarray:
    """One beat's first and second heart sound of peak 1, damped thumps of about 45 and 65 Hz 0.3 s apart, [T]."""
    time = np.arange(int(0.5 * sample_rate)) / sample_rate
    beat = np.zeros_like(time)
    for start_s, frequency_hz, level in ((0.0, 45.0, 1.0), (0.3, 65.0, 0.7)):
        local = np.maximum(time - start_s, 0)
        beat += level * np.sin(2 * np.pi * frequency_hz * rng.uniform(0.9, 1.1) * local) * np.exp(-local / 0.03)
    return beat / np.abs(beat).max()

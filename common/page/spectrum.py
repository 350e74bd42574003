"""Levels of a waveform over time at any frequencies, for pictures of recordings."""

import numpy as np

RANGE_DB = 70.0


def levels(waveform: np.ndarray, sample_rate: int, row_hz: np.ndarray, columns: int, window_s: float) -> np.ndarray:
    """Hann-windowed spectrum at equally spaced times.

    Args:
        waveform: float64 [T], finite.
        sample_rate: Hz.
        row_hz: frequencies, Hz, up to half the rate, [F]; each takes the nearest bin.
        columns: number of times, from the first sample on.
        window_s: length of the window around each, s.

    Returns:
        [F, columns], from 0 (70 dB below the loudest) to 1; zeros for silence.
    """
    size = max(int(window_s * sample_rate), 16)
    padded = np.pad(waveform, (size // 2, size))
    starts = np.linspace(0, len(waveform), columns, endpoint=False).astype(int)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(frames, 4 * size)) + 1e-9)
    level_db = level_db[:, np.round(row_hz / sample_rate * 4 * size).astype(int)].T
    return np.clip((level_db - level_db.max()) / RANGE_DB + 1, 0, 1) if level_db.max() > -170 else np.zeros_like(level_db)

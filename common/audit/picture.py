"""A small picture of a recording: its waveform, where clipping shows, above its spectrogram, as PNG."""

import io

import numpy as np

from common.page.spectrum import levels

WIDTH, WAVE_HEIGHT, SPECTRUM_HEIGHT = 320, 48, 96
# Lung sounds end below 2 kHz; one octave more shows what else was recorded.
MAX_HZ = 4000.0
WINDOW_S = 0.032
PAPER, INK, LINE = (250, 250, 250), (40, 70, 120), (200, 200, 200)


def picture(waveform: np.ndarray, sample_rate: int) -> bytes:
    """Draw a waveform.

    Args:
        waveform: float32 [T], at least one sample; NaN and infinity are drawn as 0.
        sample_rate: Hz.

    Returns:
        PNG of 320 pixels over the whole duration: amplitude relative to the largest above, 0 Hz to `top_hz` below.
    """
    import matplotlib
    import matplotlib.image

    waveform = np.nan_to_num(waveform.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    # Few colours make the file half as large, and no one can tell 64 levels from 256.
    colours = (matplotlib.colormaps["magma"](np.linspace(0, 1, 64))[:, :3] * 255).astype(np.uint8)
    row_hz = np.linspace(top_hz(sample_rate), 0, SPECTRUM_HEIGHT)
    spectrum = colours[(levels(waveform, sample_rate, row_hz, WIDTH, WINDOW_S) * 63).astype(int)]
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.concatenate([_wave(waveform), spectrum]), format="png")
    return buffer.getvalue()


def top_hz(sample_rate: int) -> float:
    """Highest frequency that `picture` shows."""
    return min(MAX_HZ, sample_rate / 2)


def _wave(waveform: np.ndarray) -> np.ndarray:
    """Lowest to highest sample of each column: uint8 [WAVE_HEIGHT, WIDTH, 3]."""
    edges = np.linspace(0, len(waveform), WIDTH + 1).astype(int)
    starts = np.minimum(edges[:-1], len(waveform) - 1)
    high, low = np.maximum.reduceat(waveform, starts), np.minimum.reduceat(waveform, starts)
    peak = max(np.abs(waveform).max(), 1e-9)
    row = (WAVE_HEIGHT - 1) / 2
    image = np.full((WAVE_HEIGHT, WIDTH, 3), PAPER, np.uint8)
    image[round(row)] = LINE
    rows = np.arange(WAVE_HEIGHT)[:, None]
    image[(rows >= np.round(row * (1 - high / peak))) & (rows <= np.round(row * (1 - low / peak)))] = INK
    return image

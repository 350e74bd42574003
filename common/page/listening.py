"""A clip to look at and listen to inside a page: spectrogram and audio as data URIs, each of bounded size."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
import soundfile

from common.audio.clip import read_clip
from common.page.drawing import BLUE, STYLE, data_uri
from common.page.frequency_axis import hz_ticks
from common.page.page import Picture
from common.page.spectrum import levels

# Browsers play no rate much below 8 kHz, and lung sounds end below 2 kHz.
SAMPLE_RATE = 8000
MAX_S = 10.0
# Of the spectrogram. Logarithmic: what is heard of lungs lies between 100 and 1000 Hz, a small corner of an even axis at high rates.
LOWEST_HZ, ROWS, COLUMNS = 50.0, 88, 280
# 16 Hz between bins, as the default front end has.
WINDOW_S = 0.064


@dataclass(frozen=True)
class Listening:
    """A clip on a page.

    Attributes:
        picture: its waveform and spectrogram.
        audio: FLAC, as a data URI.
        facts: what to read beside it, name -> value.
    """

    picture: Picture
    audio: str
    facts: dict[str, str]


def listening(clip: pd.Series, caption: str, facts: dict[str, str], sample_rate: int | None = None) -> Listening:
    """The first 10 s of a clip: drawn at the rate of a model, and at 8 kHz as loud as 16 bits hold, so that quiet clips can be heard.

    Args:
        clip: row of a manifest.
        caption: its name.
        facts: what to read beside it.
        sample_rate: Hz, of the picture, which ends at half of it: no model of this rate hears more. By default that of the audio. A file
            of a lower rate, where the manifest knows it, is drawn up to half of its own.

    Raises:
        UserError: its file cannot be read.
    """
    where = (float(clip["start_s"]), None if pd.isna(clip["end_s"]) else float(clip["end_s"]))
    whole = read_clip(clip["path"], SAMPLE_RATE, *where)
    heard = whole[: int(MAX_S * SAMPLE_RATE)]
    seconds = f"{len(heard) / SAMPLE_RATE:.1f} s" + (f" of {len(whole) / SAMPLE_RATE:.1f} s" if len(heard) < len(whole) else "")
    rate = sample_rate or SAMPLE_RATE
    native = clip.get("sample_rate")
    rate = rate if pd.isna(native) else min(rate, int(native))
    seen = heard if rate == SAMPLE_RATE else read_clip(clip["path"], rate, *where)[: int(MAX_S * rate)]
    loud = heard / max(float(np.abs(heard).max()), 1e-9) * 0.99
    buffer = io.BytesIO()
    soundfile.write(buffer, loud, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    drawn = Picture(
        f"{caption}: {seconds}, {LOWEST_HZ:g} to {rate / 2:g} Hz.",
        draw(seen, rate),
        f"Waveform above spectrogram of {caption}, {seconds}, {LOWEST_HZ:g} to {rate / 2:g} Hz on a logarithmic axis.",
    )
    return Listening(drawn, f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}", facts)


def draw(waveform: np.ndarray, sample_rate: int) -> str:
    """Waveform float32 [T] above its spectrogram on a logarithmic axis in Hz, up to half of ``sample_rate``, as a data URI."""
    import matplotlib
    from matplotlib.figure import Figure

    duration_s = len(waveform) / sample_rate
    row_hz = np.geomspace(min(LOWEST_HZ, sample_rate / 8), sample_rate / 2, ROWS)
    with matplotlib.rc_context({**STYLE, "axes.grid": False, "font.size": 7}):
        figure = Figure(figsize=(3.6, 2.3))
        margins = {"left": 0.17, "right": 0.98, "bottom": 0.15, "top": 0.98, "hspace": 0.06}
        wave, spectrogram = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6), gridspec_kw=margins)
        edges = np.linspace(0, len(waveform), COLUMNS, endpoint=False).astype(int)
        low, high = (reduced.reduceat(waveform, edges) for reduced in (np.minimum, np.maximum))
        wave.fill_between(edges / sample_rate, low, high, color=BLUE, linewidth=0.3)
        wave.set(yticks=[], xlim=(0, duration_s))
        wave.tick_params(bottom=False, labelbottom=False)
        # Few levels make the file half as large.
        shown = np.round(levels(waveform.astype(np.float64), sample_rate, row_hz, COLUMNS, WINDOW_S) * 31) / 31
        extent = (0, duration_s, -0.5, ROWS - 0.5)
        # Pixels as they are: the page scales them.
        spectrogram.imshow(shown, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=1, interpolation="none")
        spectrogram.set_yticks(*hz_ticks(row_hz))
        spectrogram.set(xlabel="Time, s", ylabel="Hz")
        return data_uri(figure)

"""The picture of a clip on a page: a tone lies where its axis says, up to half the rate that is asked for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.page.frequency_axis import hz_ticks
from common.page.listening import LOWEST_HZ, listening

RATE = 16000


def drawn(folder: Path, monkeypatch, tone_hz: float, sample_rate: int | None, native: int | None = None):
    """The axes of the spectrogram of a second of a tone, and its levels [F, N]."""
    time = np.arange(2 * RATE) / RATE
    soundfile.write(folder / "tone.wav", 0.4 * np.sin(2 * np.pi * tone_hz * time), RATE)
    figures = []
    monkeypatch.setattr("common.page.listening.data_uri", lambda figure: figures.append(figure) or "data:")
    clip = pd.Series({"path": str(folder / "tone.wav"), "start_s": 0.5, "end_s": 1.5, "sample_rate": native})
    shown = listening(clip, "a tone", {}, sample_rate)
    axes = figures[0].axes[1]
    return shown, axes, np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize(
    ("tone_hz", "sample_rate", "top_hz"), [(500, 4000, 2000), (200, 16000, 8000), (5000, 16000, 8000), (1000, None, 4000)]
)
def test_a_tone_lies_where_the_axis_says(tmp_path: Path, monkeypatch, tone_hz, sample_rate, top_hz):
    shown, axes, levels = drawn(tmp_path, monkeypatch, tone_hz, sample_rate)
    row_hz = np.geomspace(LOWEST_HZ, top_hz, len(levels))
    loudest = levels[:, 50:-50].mean(axis=1).argmax()
    places = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert abs(loudest - places[str(tone_hz)]) <= 1, "the tone must be at its tick"
    assert row_hz[loudest] == pytest.approx(tone_hz, rel=0.05)
    assert axes.get_ylabel() == "Hz" and axes.get_xlim() == (0, 1) and f"to {top_hz} Hz" in shown.picture.alt


@pytest.mark.parametrize(("native", "top_hz"), [(8000, 4000), (44100, 16000)])
def test_what_a_file_cannot_hold_is_not_drawn(tmp_path: Path, monkeypatch, native: int, top_hz: int):
    shown, _, _ = drawn(tmp_path, monkeypatch, 500, 32000, native)
    assert f"to {top_hz} Hz" in shown.picture.alt


def test_what_a_network_cannot_hear_is_not_drawn(tmp_path: Path, monkeypatch):
    _, axes, _ = drawn(tmp_path, monkeypatch, 5000, 4000)
    assert max(float(label.get_text()) for label in axes.get_yticklabels()) == 2000


def test_ticks_of_bands_in_any_order():
    rising = np.array([60.0, 100.0, 180.0, 300.0, 520.0])
    places, words = hz_ticks(rising)
    assert words == ["100", "200", "500"]
    np.testing.assert_allclose(places, [1, 2 + 20 / 120, 3 + 200 / 220])
    falling, same = hz_ticks(rising[::-1])
    assert same == words
    np.testing.assert_allclose(falling, 4 - places)
    without, _ = hz_ticks(np.array([60.0, np.nan, 180.0, 300.0, 520.0]))
    np.testing.assert_allclose(without[0], 2 * 40 / 120)
    assert hz_ticks(np.array([110.0, 120.0, 130.0]))[1] == ["110", "130"], "of a narrow band, its ends"

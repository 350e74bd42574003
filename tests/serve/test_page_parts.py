"""What the page shows, part by part: words, tables, windows over time and the spectrogram."""

import csv
import io
from typing import Any

import numpy as np
import pytest

from serve.page.answer_table import csv_text
from serve.page.spectrogram import spectrogram
from serve.page.window_track import MOST_WINDOWS, bounded_starts
from serve.page.words import verdict
from serve.schemas import LabelAnswer, RecordingAnswer


def test_csv_has_the_columns_of_all_rows() -> None:
    rows = [{"file": "a,b", "status": "failed"}, {"file": "c", "status": "ok", "prob_x": "0.5"}]
    assert list(csv.DictReader(io.StringIO(csv_text(rows)))) == [
        {"file": "a,b", "status": "failed", "prob_x": ""},
        {"file": "c", "status": "ok", "prob_x": "0.5"},
    ]


def test_windows_cover_a_recording_and_are_bounded() -> None:
    assert bounded_starts(10, 20, 5).tolist() == [0]
    assert bounded_starts(20, 20, 5).tolist() == [0]
    assert bounded_starts(31, 20, 5).tolist() == [0, 5, 10, 11]
    long = bounded_starts(600 * 4000, 400, 1)
    assert len(long) <= MOST_WINDOWS and long[-1] == 600 * 4000 - 400 and (np.diff(long) > 0).all()


def test_a_tone_stands_at_its_frequency_and_time() -> None:
    time = np.arange(3 * 8000) / 8000
    tone = np.where((time >= 1) & (time < 2), np.sin(2 * np.pi * 700 * time), 0).astype(np.float32)
    shown = spectrogram(tone, 8000, 2000)
    row, column = np.unravel_index(shown.levels_db.argmax(), shown.levels_db.shape)
    assert row / (shown.levels_db.shape[0] - 1) * shown.top_hz == pytest.approx(700, abs=16)
    assert 1 <= column / shown.levels_db.shape[1] * shown.duration_s <= 2
    assert (shown.duration_s, shown.top_hz) == (3, 2000) and shown.levels_db[:, 10].max() < -60


def test_breathing_alone_does_not_go_over_the_top() -> None:
    # Brown noise: as good as all of it lies in a few of the lowest of 700 bins.
    noise = np.cumsum(np.random.default_rng(0).standard_normal(8 * 44100)).astype(np.float32)
    over = spectrogram(noise - noise.mean(), 44100, 16000).levels_db > 0
    assert 0 < over.any(axis=0).mean() <= 0.011


def test_a_click_does_not_hide_what_is_quiet() -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal(10 * 8000).astype(np.float32)
    before = spectrogram(noise, 8000, 4000)
    noise[40000] += 0.3
    after = spectrogram(noise, 8000, 4000)
    assert 15 < after.levels_db.max() <= 30
    assert np.median(after.levels_db) == pytest.approx(np.median(before.levels_db), abs=3)
    noise[40000] += 1000
    assert spectrogram(noise, 8000, 4000).levels_db.max() == pytest.approx(30)


@pytest.mark.parametrize(
    ("labels", "given", "words"),
    [
        ("wheeze+ crackle-", {}, "The model says: wheeze."),
        ("wheeze- crackle-", {}, "The model finds none of its labels."),
        ("wheeze? crackle-", {}, "The model does not decide on wheeze: the probability lies in the abstain band."),
        ("wheeze? crackle?", {}, "The model leaves all of its labels open: no probability is clear enough."),
        ("wheeze? crackle? normal-", {}, "The model does not decide on wheeze, crackle: their probabilities lie in the abstain bands."),
        ("wheeze+ crackle?", {}, "The model says: wheeze. The model does not decide on crackle: the probability lies in the abstain band."),
        ("asthma+ healthy-", {"decided": "asthma"}, "The model says: asthma."),
        ("asthma? healthy-", {"decided": "asthma"}, "The model does not decide on asthma: the probability lies in the abstain band."),
        ("wheeze+", {"warnings": ["noise_only"]}, "The model says: wheeze. The recording has a fault, so the answer means little."),
    ],
)
def test_an_answer_in_words(labels: str, given: dict[str, Any], words: str) -> None:
    answers = [
        LabelAnswer(label=word[:-1], probability=0.5, threshold=0.5, decided=word[-1] != "-", undecided=word[-1] == "?")
        for word in labels.split()
    ]
    assert verdict(RecordingAnswer(index=0, status="ok", labels=answers, **given)) == words

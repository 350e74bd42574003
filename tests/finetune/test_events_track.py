"""Probability tracks: the same whatever the chunks, and each stretch answered by the window that is nearest to it."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import RATE, made_model

from common.audio.quality import SILENT
from common.windows import window_starts
from finetune.events.event import Event
from finetune.events.judge import Judge, judge_of
from finetune.events.rule import event_rule
from finetune.events.stream import EventStream
from finetune.events.track import Track
from finetune.events.track_stream import TrackStream
from finetune.events.windows import Windows, windows_for
from finetune.predict.model_file import ModelFile


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return made_model()


@pytest.fixture(scope="module")
def judge(model: ModelFile) -> Judge:
    return judge_of(model)


@pytest.fixture(scope="module")
def judge_of_frames() -> Judge:
    return judge_of(made_model(frames=True))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Of a level that wanders, so that events begin and end."""
    generator = np.random.default_rng(seed)
    slow = np.repeat(generator.random(samples // 200 + 1), 200)[:samples]
    return (2 * slow * generator.uniform(-1, 1, samples)).astype(np.float32)


def heard(judge: Judge, chunks: list[np.ndarray], windows: Windows, rate: int = RATE, **rule: float) -> tuple[Track, list[Event]]:
    stream = EventStream(TrackStream(judge, rate, windows), event_rule(judge, **rule))
    parts = [stream.feed(chunk) for chunk in chunks] + [stream.close()]
    return Track.joined([rows for rows, _ in parts]), [event for _, events in parts for event in events]


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 4000),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    window_s=st.sampled_from([0.1, 0.37, 0.5, 1.2]),
    hop_share=st.sampled_from([0.1, 0.33, 1.0]),
    at_once=st.integers(1, 7),
    median_rows=st.sampled_from([1, 3, 5]),
    rate=st.sampled_from([1000, 1600]),
    seed=st.integers(0, 1000),
    by=st.sampled_from(["windows", "frames"]),
)
def test_any_chunking_gives_the_whole_recording_s_rows_and_events(
    judge: Judge,
    judge_of_frames: Judge,
    samples: int,
    cuts: list[int],
    window_s: float,
    hop_share: float,
    at_once: int,
    median_rows: int,
    rate: int,
    seed: int,
    by: str,
) -> None:
    chosen = judge if by == "windows" else judge_of_frames
    window_s = min(window_s, chosen.longest_s)
    waveform, windows = noise(samples, seed), Windows(window_s, hop_share * window_s, at_once)
    rule = {"high": 0.5, "low": 0.4, "median_rows": median_rows, "min_gap_s": 0.15}
    whole, events = heard(chosen, [waveform], windows, rate, **rule)
    chunks = np.split(waveform, sorted(cut for cut in cuts if cut <= samples))
    rows, in_chunks = heard(chosen, chunks, windows, rate, **rule)
    for name in ("start_s", "end_s", "probabilities", "flags"):
        assert np.array_equal(getattr(rows, name), getattr(whole, name)), name
    assert sorted(in_chunks, key=str) == sorted(events, key=str)
    # No time is missing, and none is there twice.
    assert whole.start_s[0] == 0 and whole.end_s[-1] == samples / rate and np.array_equal(whole.start_s[1:], whole.end_s[:-1])


@pytest.mark.parametrize(("samples", "at_once"), [(300, 16), (500, 16), (2345, 1), (2345, 4), (2500, 100)])
def test_each_stretch_has_the_answer_of_the_nearest_window(model: ModelFile, judge: Judge, samples: int, at_once: int) -> None:
    waveform = noise(samples)
    rows, _ = heard(judge, [waveform], Windows(0.5, 0.11, at_once))
    starts = window_starts(samples, 500, 110)
    expected = [model.module(torch.from_numpy(waveform[None, start : start + 500]), RATE)[0][0].numpy() for start in starts]
    np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
    centres = (np.array(starts) + min(500, samples) / 2) / RATE
    for time in np.linspace(0, samples / RATE, 97)[1:-1]:
        row = int(np.searchsorted(rows.end_s, time))
        assert abs(centres[row] - time) <= np.abs(centres - time).min() + 1e-9


@pytest.mark.parametrize(("samples", "rate"), [(70, RATE), (300, RATE), (500, RATE), (2345, RATE), (2503, RATE), (2200, 1600)])
def test_each_time_has_the_frame_of_the_nearest_window(judge_of_frames: Judge, samples: int, rate: int) -> None:
    waveform, window = noise(samples), round(0.5 * rate)
    rows, _ = heard(judge_of_frames, [waveform], Windows(0.5, 0.2, 3), rate)
    starts = window_starts(samples, window, round(0.2 * rate))
    parts = [torch.from_numpy(waveform[None, start : start + window]) for start in starts]
    frames = [judge_of_frames.model.module.frames(part, rate)[0][0].numpy() for part in parts]
    assert all(of_window.shape == (13, 1) for of_window in frames), "also of a window that is filled"
    centres = (np.array(starts) + window / 2) / rate
    times = np.linspace(0, samples / rate, 197)[1:-1]
    for time in times[np.abs(times * rate - np.round(times * rate)) > 1e-3]:
        nearest = int(np.abs(centres - time).argmin())
        of_window = frames[nearest][min(12, int((time - starts[nearest] / rate) / 0.04))]
        np.testing.assert_allclose(rows.probabilities[np.searchsorted(rows.end_s, time)], of_window, atol=1e-6)
    # No row is left of rounding, nor longer than a frame.
    lengths = (rows.end_s - rows.start_s) * rate
    assert lengths.min() >= 0.5 and lengths.max() <= 0.04 * rate + 1e-6 and rows.end_s[-1] == samples / rate


def test_the_model_s_own_windows_average_to_what_predict_says(model: ModelFile, judge: Judge) -> None:
    waveform = noise(3210)
    rows, _ = heard(judge, [waveform], Windows(0.5, 0.25))
    np.testing.assert_allclose(rows.probabilities.mean(axis=0), model.predict(waveform, RATE)[0], atol=1e-6)


def test_windows_are_the_model_s_by_default_and_a_tenth_apart(judge: Judge, judge_of_frames: Judge) -> None:
    windows = windows_for(judge)
    assert (windows.window_s, windows.hop_s) == (0.5, 0.05)
    assert windows_for(judge, 0.2).hop_s == pytest.approx(0.02)
    assert windows_for(judge_of_frames).hop_s == 0.25, "frames hear around them"


def test_a_silent_stretch_is_flagged(judge: Judge) -> None:
    rows, _ = heard(judge, [np.concatenate([noise(1500), np.zeros(1500, np.float32)])], Windows(0.5, 0.25))
    assert rows.flags[0] == 0 and rows.flags[-1] == SILENT


def test_nothing_fed_is_an_empty_track(judge: Judge) -> None:
    rows, events = heard(judge, [], Windows(0.5, 0.25))
    assert len(rows) == 0 and events == []


@pytest.mark.parametrize("frames", [False, True])
def test_memory_does_not_grow_with_the_recording(frames: bool) -> None:
    judge = judge_of(made_model(frames=frames))

    def peak(seconds: int) -> int:
        stream = EventStream(TrackStream(judge, RATE, Windows(0.5, 0.5)), event_rule(judge))
        block = noise(10 * RATE)
        stream.feed(block)
        tracemalloc.start()
        for _ in range(seconds // 10):
            stream.feed(block)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # A buffer of all samples would take 4 bytes times 1000 Hz times 900 s more.
    assert peak(1000) < peak(100) + 1_000_000

"""Hysteresis, gaps and lengths against the same rules written slowly, and the running median against scipy's."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from finetune.events.event import Event
from finetune.events.hysteresis import EventFinder
from finetune.events.median import MedianFilter
from finetune.events.track import Track


def found(finder: EventFinder, probability: list[float], row_s: float = 1.0, chunk: int = 100) -> list[Event]:
    """What ``finder`` makes of rows of ``row_s`` seconds, fed ``chunk`` at a time."""
    borders = np.arange(len(probability) + 1) * row_s
    events = []
    for first in range(0, len(probability), chunk):
        part = slice(first, first + chunk)
        events += finder.feed(borders[:-1][part], borders[1:][part], np.array(probability[part]))
    return events + finder.close()


def test_an_event_lasts_while_low_is_kept_and_needs_high_once() -> None:
    track = [0.1, 0.4, 0.8, 0.4, 0.1, 0.4, 0.4, 0.1]
    assert found(EventFinder("wheeze", 0.7, 0.3), track) == [Event("wheeze", 1.0, 4.0, 0.8, pytest.approx(1.6 / 3))]


@pytest.mark.parametrize(("min_gap_s", "spans"), [(0.0, [(0, 1), (2, 3), (5, 6)]), (2.0, [(0, 3), (5, 6)]), (2.1, [(0, 6)])])
def test_gaps_shorter_than_the_least_are_closed(min_gap_s: float, spans: list[tuple[float, float]]) -> None:
    events = found(EventFinder("wheeze", 0.5, 0.5, min_gap_s=min_gap_s), [0.9, 0.0, 0.7, 0.0, 0.0, 0.5])
    assert [(event.onset_s, event.offset_s) for event in events] == spans
    # Gaps that are closed lower no mean.
    assert events[0].mean == pytest.approx({1: 0.9, 3: 0.8, 6: 0.7}[events[0].offset_s])


def test_a_weak_stretch_in_a_gap_is_no_bridge() -> None:
    events = found(EventFinder("wheeze", 0.8, 0.3, min_gap_s=1.5), [0.9, 0.0, 0.4, 0.0, 0.9])
    assert [(event.onset_s, event.offset_s) for event in events] == [(0, 1), (4, 5)]


def test_gaps_are_closed_before_short_events_are_dropped() -> None:
    finder = EventFinder("wheeze", 0.5, 0.5, min_length_s=0.3, min_gap_s=0.2)
    events = found(finder, [0, 1, 0, 1, 0, 0, 0, 1, 0], row_s=0.1)
    assert [(event.onset_s, event.offset_s) for event in events] == [(pytest.approx(0.1), pytest.approx(0.4))]


def slowly(probability: np.ndarray, high: float, low: float, min_length: int, min_gap: int) -> list[tuple[int, int, np.ndarray]]:
    """First row of each event, the one after its last, and the rows that are no gap, by the rules' own words."""
    marks, count = ndimage.label(probability >= low)
    spans = [np.flatnonzero(marks == number) for number in range(1, count + 1)]
    events = [(span[0], span[-1] + 1, span) for span in spans if probability[span].max() >= high]
    merged = True
    while merged:
        merged = False
        for first in range(len(events) - 1):
            if events[first + 1][0] - events[first][1] < min_gap:
                there = np.concatenate([events[first][2], events[first + 1][2]])
                events[first : first + 2] = [(events[first][0], events[first + 1][1], there)]
                merged = True
                break
    return [(start, end, there) for start, end, there in events if end - start >= min_length]


@settings(max_examples=150, deadline=None)
@example(tenths=[2, 0, 1, 0, 2], high=1, low=2, min_length=0, min_gap=4, chunk=1)
@given(
    tenths=st.lists(st.integers(0, 10), max_size=60),
    high=st.integers(0, 10),
    low=st.integers(0, 10),
    min_length=st.integers(0, 4),
    min_gap=st.integers(0, 4),
    chunk=st.integers(1, 7),
)
def test_it_follows_its_rules(tenths: list[int], high: int, low: int, min_length: int, min_gap: int, chunk: int) -> None:
    track, high, low = np.array(tenths) / 10, max(high, low), min(high, low)
    finder = EventFinder("x", high / 10, low / 10, 0.1 * min_length, 0.1 * min_gap)
    events = found(finder, track.tolist(), row_s=0.1, chunk=chunk)
    expected = slowly(track, high / 10, low / 10, min_length, min_gap)
    assert [(round(10 * event.onset_s), round(10 * event.offset_s)) for event in events] == [(start, end) for start, end, _ in expected]
    for event, (_, _, there) in zip(events, expected, strict=True):
        # A stretch in a closed gap that never reached the upper threshold is part of the gap.
        assert event.peak == track[there].max() and event.mean == pytest.approx(track[there].mean())


def test_an_event_comes_as_soon_as_nothing_can_change_it() -> None:
    finder = EventFinder("wheeze", 0.5, 0.5, min_gap_s=2.0)
    answers = [finder.feed(np.array([row]), np.array([row + 1.0]), np.array([value])) for row, value in enumerate([0.0, 1.0, 0.0, 0.0])]
    assert [len(answer) for answer in answers] == [0, 0, 0, 1]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), rows=st.sampled_from([1, 3, 5, 9]), chunk=st.integers(1, 9))
def test_the_running_median_is_scipy_s(values: list[float], rows: int, chunk: int) -> None:
    table = np.column_stack([values, values[::-1]])
    borders = np.arange(len(values) + 1.0)
    track = Track(borders[:-1], borders[1:], table, np.arange(len(values)))
    median = MedianFilter(rows)
    parts = [median.feed(track.part(first, first + chunk)) for first in range(0, len(values), chunk)]
    remaining = median.close()
    assert remaining is not None
    filtered = Track.joined([*parts, remaining])
    np.testing.assert_array_equal(filtered.probabilities, ndimage.median_filter(table, size=(rows, 1), mode="nearest"))
    assert np.array_equal(filtered.start_s, track.start_s) and np.array_equal(filtered.flags, track.flags)

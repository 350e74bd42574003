"""Hysteresis: from the probability track of one label to its events, row by row.

A single threshold breaks an event where its probability dips, and takes every brief excess for one. With two, an event is a stretch
of probabilities of at least ``low`` that somewhere reaches ``high``.

Reference:
    Canny, "A computational approach to edge detection", IEEE TPAMI 8, 1986 (thresholding with hysteresis); for sound events Dinkel & Yu,
    "Duration robust weakly supervised sound event detection", ICASSP 2020 (double threshold), and Cances, Guyot & Pellegrini, "Evaluation
    of post-processing algorithms for polyphonic sound event detection", WASPAA 2019. Gelly & Gauvain, Interspeech 2015, whom
    voice-activity detectors follow, begin an event where ``high`` is reached; here it begins where ``low`` was, as it ends.
"""

from dataclasses import dataclass

import numpy as np

from finetune.events.event import Event

# Times are sums of floats: a gap of 0.3 s is not shorter than 0.3 s for the last bit.
ROUNDING_S = 1e-9


@dataclass
class _Stretch:
    """Rows of at least ``low``: seconds, highest probability, and the integral of the probability over the ``active_s`` that have it."""

    onset_s: float
    offset_s: float
    peak: float
    area: float
    active_s: float

    def take(self, other: "_Stretch") -> None:
        self.offset_s = other.offset_s
        self.peak = max(self.peak, other.peak)
        self.area += other.area
        self.active_s += other.active_s


class EventFinder:
    """The events of one label. Gaps shorter than ``min_gap_s`` between two events are closed first; events shorter than
    ``min_length_s`` are dropped then.

    Args:
        label: name of the events.
        high: probability that an event reaches.
        low: probability that it does not fall below, up to ``high``.
        min_length_s: s.
        min_gap_s: s.
    """

    def __init__(self, label: str, high: float, low: float, min_length_s: float = 0.0, min_gap_s: float = 0.0) -> None:
        self.label, self.high, self.low = label, high, low
        self.min_length_s, self.min_gap_s = min_length_s, min_gap_s
        # The stretch that goes on, and the last event, which a later one may still join.
        self._open: _Stretch | None = None
        self._last: _Stretch | None = None

    def feed(self, start_s: np.ndarray, end_s: np.ndarray, probability: np.ndarray) -> list[Event]:
        """Take the next rows, each [N], and return the events that no later row can change."""
        found: list[Event] = []
        for start, end, value in zip(start_s.tolist(), end_s.tolist(), probability.tolist(), strict=True):
            if value < self.low:
                found += self._end_stretch()
                if self._last is not None and self._apart(end):
                    found += self._finish()
                continue
            row = _Stretch(start, end, value, value * (end - start), end - start)
            if self._open is None:
                self._open = row
            else:
                self._open.take(row)
        return found

    def close(self) -> list[Event]:
        """Return the remaining events; the track has ended."""
        return self._end_stretch() + self._finish()

    def _end_stretch(self) -> list[Event]:
        """Make the open stretch an event if it is one, and return the one before it if they stay apart."""
        ended, self._open = self._open, None
        if ended is None or ended.peak < self.high:
            return []
        if self._last is not None and not self._apart(ended.onset_s):
            self._last.take(ended)
            return []
        finished = self._finish()
        self._last = ended
        return finished

    def _apart(self, onset_s: float) -> bool:
        """Whether an event that begins then does not join the last one."""
        return self._last is not None and onset_s - self._last.offset_s >= self.min_gap_s - ROUNDING_S

    def _finish(self) -> list[Event]:
        last, self._last = self._last, None
        if last is None or last.offset_s - last.onset_s < self.min_length_s - ROUNDING_S:
            return []
        return [Event(self.label, last.onset_s, last.offset_s, last.peak, last.area / last.active_s)]

"""Samples in, finished events out: what a recording and a live signal share."""

import numpy as np

from finetune.events.event import Event
from finetune.events.median import MedianFilter
from finetune.events.rule import EventRule
from finetune.events.track import Track
from finetune.events.track_stream import TrackStream


class EventStream:
    """The events of one recording, however its samples arrive.

    Feeding it in chunks of any sizes gives the rows and events of feeding it whole, to the last bit; events come as soon as nothing later
    can change them. Its memory does not grow with the recording.

    Args:
        track: makes the track; not yet fed.
        rule: makes events of it.
    """

    def __init__(self, track: TrackStream, rule: EventRule) -> None:
        self.track = track
        self._median = MedianFilter(rule.median_rows)
        self._finders = rule.finders()
        self._columns = [track.judge.labels.index(finder.label) for finder in self._finders]

    def feed(self, samples: np.ndarray) -> tuple[Track, list[Event]]:
        """Take the next ``samples``, float32 [T]; return rows of the track, before the median filter, and finished events."""
        rows = self.track.feed(samples)
        return rows, self._events(self._median.feed(rows))

    def close(self) -> tuple[Track, list[Event]]:
        """Return the remaining rows and events; the recording has ended."""
        rows = self.track.close()
        events = self._events(self._median.feed(rows))
        remaining = self._median.close()
        if remaining is not None:
            events += self._events(remaining)
        return rows, events + [event for finder in self._finders for event in finder.close()]

    def _events(self, rows: Track) -> list[Event]:
        finders = zip(self._finders, self._columns, strict=True)
        return [event for finder, at in finders for event in finder.feed(rows.start_s, rows.end_s, rows.probabilities[:, at])]

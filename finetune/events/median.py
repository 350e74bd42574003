"""A running median over the rows of a track, which removes single outliers and keeps steps where they are."""

import numpy as np

from finetune.events.track import Track


class MedianFilter:
    """Replaces each row's probabilities by the median of its ``rows`` neighbours, itself in their middle, label by label.

    Before the first and after the last row stand copies of them. A row is returned once its later neighbours are there.

    Args:
        rows: how many, odd; 1 changes nothing.
    """

    def __init__(self, rows: int) -> None:
        self.half = rows // 2
        # Rows that wait for later ones, and the values that all of them, and earlier ones of these, still need.
        self._waiting: Track | None = None
        self._values: np.ndarray | None = None

    def feed(self, track: Track) -> Track:
        """Take the next rows and return those whose median is known."""
        if not len(track):
            return track
        if self._waiting is None or self._values is None:
            self._waiting, self._values = track, np.repeat(track.probabilities[:1], self.half, axis=0)
        else:
            self._waiting = Track.joined([self._waiting, track])
        return self._filtered(track.probabilities)

    def close(self) -> Track | None:
        """Return the remaining rows; None where there never was one."""
        if self._waiting is None or self._values is None:
            return None
        return self._filtered(np.repeat(self._values[-1:], self.half, axis=0))

    def _filtered(self, more: np.ndarray) -> Track:
        assert self._waiting is not None and self._values is not None
        self._values = np.concatenate([self._values, more])
        done = max(0, len(self._values) - 2 * self.half)
        rows = self._waiting.part(0, done)
        if done:
            windows = np.lib.stride_tricks.sliding_window_view(self._values, 2 * self.half + 1, axis=0)
            rows = Track(rows.start_s, rows.end_s, np.median(windows, axis=-1), rows.flags)
        self._waiting, self._values = self._waiting.part(done), self._values[done:]
        return rows

"""A probability track: how probable each label is, stretch by stretch of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """N neighbouring stretches of a recording, without gaps.

    Attributes:
        start_s: where each begins, s [N].
        end_s: where each ends, which is where the next one begins, s [N].
        probabilities: float32 [N, L].
        flags: quality of the window that each comes from, int64 [N], see `common.audio.quality`.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    probabilities: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.start_s)

    def part(self, first: int, end: int | None = None) -> "Track":
        """The stretches ``first`` to ``end``, without the latter."""
        return Track(self.start_s[first:end], self.end_s[first:end], self.probabilities[first:end], self.flags[first:end])

    @staticmethod
    def joined(tracks: Sequence["Track"]) -> "Track":
        """One or more tracks, one after the other."""
        return Track(
            np.concatenate([track.start_s for track in tracks]),
            np.concatenate([track.end_s for track in tracks]),
            np.concatenate([track.probabilities for track in tracks]),
            np.concatenate([track.flags for track in tracks]),
        )

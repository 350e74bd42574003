"""Samples in, rows of a probability track out: overlapping windows of a recording of any length, each answered by an exported model.

Windows are answered in groups that depend on their place in the recording alone, never on how its samples arrive: whoever feeds it at
once, or sample by sample, gets the same numbers to the last bit.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common.windows import window_starts
from finetune.events.judge import Judge
from finetune.events.track import Track
from finetune.events.windows import Windows

# In samples: what is shorter is no row, but rounding of where a frame begins.
LEAST = 0.5
# In samples: what seconds times a rate may fall short of a whole number by the rounding of floats.
EXACT = 1e-6


@dataclass(frozen=True)
class _Answer:
    """Of one window: its first sample, probabilities [R, L] and quality flags."""

    start: int
    probabilities: np.ndarray
    flags: int


class TrackStream:
    """The track of one recording.

    Windows begin one hop apart, and the last one ends with the recording; a recording shorter than a window is one window, which the
    model fills as in training. A window speaks for the times that are nearer to its centre than to any other's, so the first one from the
    recording's start on and the last one to its end. Each of its stretches (frames, or the one that is all of it) is a row there.

    Args:
        judge: answers the windows; its model resamples each to its own rate.
        sample_rate: of the recording, Hz.
        windows: their length and distance.
    """

    def __init__(self, judge: Judge, sample_rate: int, windows: Windows) -> None:
        self.judge = judge
        self.sample_rate = sample_rate
        # Rounded down: a model that tells frames takes no window that is longer than its own.
        self.window = max(1, int(windows.window_s * sample_rate + EXACT))
        self.hop = min(self.window, max(1, round(windows.hop_s * sample_rate)))
        self.windows_at_once = windows.at_once
        self._length = 0
        self._answered = 0
        # The samples that windows still need, and the place of the first of them in the recording.
        self._samples, self._offset = np.zeros(0, np.float32), 0
        # The window for whose last time is not known before the next one's centre is, and from where on it speaks, in samples.
        self._held: list[_Answer] = []
        self._border = 0.0

    @property
    def length_s(self) -> float:
        """How much was fed, s."""
        return self._length / self.sample_rate

    def feed(self, samples: np.ndarray) -> Track:
        """Take the next ``samples``, float32 [T] with any T, and return the rows that they complete."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        self._length += len(samples)
        groups = []
        while (first := self._answered * self.hop) + (self.windows_at_once - 1) * self.hop + self.window <= self._length:
            groups.append([first + number * self.hop for number in range(self.windows_at_once)])
            self._answered += self.windows_at_once
        rows = Track.joined([self._rows(starts) for starts in groups]) if groups else self._rows([])
        # From the last window's first sample on: the one that ends with the recording may begin just after it.
        needed = max(0, (self._answered - 1) * self.hop)
        self._samples, self._offset = self._samples[needed - self._offset :], needed
        return rows

    def close(self) -> Track:
        """Return the remaining rows; the recording has ended."""
        starts = window_starts(self._length, self.window, self.hop)[self._answered :] if self._length else []
        return self._rows(starts, last=True)

    def _answers(self, starts: list[int]) -> list[_Answer]:
        windows = np.stack([self._samples[start - self._offset : start - self._offset + self.window] for start in starts])
        probabilities, flags = self.judge.answer(windows, self.sample_rate)
        return [_Answer(*answer) for answer in zip(starts, probabilities, flags.tolist(), strict=True)]

    def _rows(self, starts: list[int], last: bool = False) -> Track:
        """The rows of windows that begin at ``starts``, and of the one that was held; without the last one unless it is the ``last``."""
        answers = self._held + (self._answers(starts) if starts else [])
        # Midway between the centres of neighbouring windows.
        ends = [(one.start + other.start + self.window) / 2 for one, other in pairwise(answers)]
        if last and answers:
            ends.append(float(self._length))
        rows = [Track(np.zeros(0), np.zeros(0), np.zeros((0, len(self.judge.labels)), np.float32), np.zeros(0, np.int64))]
        for answer, end in zip(answers, ends, strict=False):
            rows.append(self._stretches(answer, self._border, end))
            self._border = end
        self._held = answers[len(ends) :]
        return Track.joined(rows)

    def _stretches(self, answer: _Answer, first: float, end: float) -> Track:
        """The rows of a window from the sample ``first`` to ``end``, at which its stretches are cut."""
        count = len(answer.probabilities)
        inner = answer.start + np.arange(1, count) * (self.judge.stretch_s * self.sample_rate)
        before, within = inner <= first + LEAST, (inner > first + LEAST) & (inner < end - LEAST)
        borders = np.concatenate([[first], inner[within], [end]]) / self.sample_rate
        number = int(before.sum())
        probabilities = answer.probabilities[number : number + len(borders) - 1]
        return Track(borders[:-1], borders[1:], probabilities, np.full(len(probabilities), answer.flags, np.int64))

"""Samples in, rows of a probability track out: overlapping windows of a recording of any length, each answered by an exported model.

Windows are answered in groups that depend on their place in the recording alone, never on how its samples arrive: whoever feeds it at
once, or sample by sample, gets the same numbers to the last bit.
"""

import numpy as np
import torch

from common.windows import window_starts
from finetune.events.track import Track
from finetune.events.windows import Windows
from finetune.predict.model_file import ModelFile


class TrackStream:
    """The track of one recording.

    Windows begin one hop apart, and the last one ends with the recording; a recording shorter than a window is one window, which the
    model fills as in training. A window speaks for the times that are nearer to its centre than to any other's, so the first one from the
    recording's start on and the last one to its end.

    Args:
        model: exported model.
        sample_rate: of the recording, Hz; the model resamples each window to its own.
        windows: their length and distance.
    """

    def __init__(self, model: ModelFile, sample_rate: int, windows: Windows) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.window = max(1, round(windows.window_s * sample_rate))
        self.hop = min(self.window, max(1, round(windows.hop_s * sample_rate)))
        self.windows_at_once = windows.at_once
        self._length = 0
        self._answered = 0
        # The samples that windows still need, and the place of the first of them in the recording.
        self._samples, self._offset = np.zeros(0, np.float32), 0
        # The row whose end is not known before the next window's centre is, and where it begins, in samples.
        self._held = (np.zeros(0, np.int64), np.zeros((0, len(model.labels)), np.float32), np.zeros(0, np.int64))
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

    @torch.inference_mode()
    def _answer(self, starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        windows = np.stack([self._samples[start - self._offset : start - self._offset + self.window] for start in starts])
        probabilities, flags = self.model.module(torch.from_numpy(windows), self.sample_rate)
        return probabilities.numpy().astype(np.float32), flags.numpy()

    def _rows(self, starts: list[int], last: bool = False) -> Track:
        """The rows of windows that begin at ``starts``, and the one that was held; without the last one unless it is the ``last``."""
        parts = [self._held]
        if starts:
            parts.append((np.asarray(starts), *self._answer(starts)))
        begins, probabilities, flags = (np.concatenate(values) for values in zip(*parts, strict=True))
        # Midway between the centres of neighbouring windows.
        inner = (begins[:-1] + begins[1:] + self.window) / 2
        borders = np.concatenate([[self._border], inner, [self._length] if last and len(begins) else []])
        done = len(borders) - 1
        self._held, self._border = (begins[done:], probabilities[done:], flags[done:]), borders[-1]
        return Track(borders[:-1] / self.sample_rate, borders[1:] / self.sample_rate, probabilities[:done], flags[:done])

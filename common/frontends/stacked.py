"""Several front ends of one waveform, above one another along frequency."""

import torch
from torch import Tensor, nn

from common.frontends.base import FrontEnd, Normalise, standardise


class Stacked(FrontEnd):
    """Spectrograms of several front ends in one: waveforms [B, T] to [B, 1, F1 + F2 + ..., N].

    For example a log-mel with the MFCCs of the same frames, or log-mels with short and with long frames. The bins are no single
    axis of frequency, so the encoder has to be one that learns what each bin is: `Cnn1d`, or one that knows the place (`Cnn2d`).

    Args:
        front_ends: at least one, all with the same sample rate and the same frames (hop); the first is at the bottom.
        normalise: "clip": each part to mean 0 and standard deviation 1 over the clip, so that none drowns the others. "none": as they are.

    Raises:
        ValueError: no front end, or two that differ in sample rate or frames.
    """

    def __init__(self, front_ends: list[FrontEnd], normalise: Normalise = "clip") -> None:
        super().__init__()
        if not front_ends:
            raise ValueError("front_ends is empty, expected at least one")
        if normalise not in ("clip", "none"):
            raise ValueError(f"normalise is {normalise!r}, expected 'clip' or 'none'")
        first = front_ends[0]
        for other in front_ends[1:]:
            if (first.sample_rate, _frames(first)) != (other.sample_rate, _frames(other)):
                raise ValueError(
                    f"{type(first).__name__} ({first.sample_rate} Hz, hop {first.hop}) and {type(other).__name__} "
                    f"({other.sample_rate} Hz, hop {other.hop}) do not have the same frames: give all the same sample_rate and hop"
                )
        self.front_ends = nn.ModuleList(front_ends)
        self.normalise = normalise
        self.sample_rate, self.hop = first.sample_rate, first.hop
        self.num_bins = sum(part.num_bins for part in front_ends)
        self.f_min_hz = min(part.f_min_hz for part in front_ends)
        self.f_max_hz = max(part.f_max_hz for part in front_ends)
        self.min_samples = max(part.min_samples for part in front_ends)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        parts = [part.spectrogram(waveform) for part in self._front_ends()]
        return torch.cat([standardise(part) for part in parts] if self.normalise == "clip" else parts, dim=1)

    def num_frames(self, num_samples: int) -> int:
        """N for T = ``num_samples``, that of each part."""
        return self._front_ends()[0].num_frames(num_samples)

    def _front_ends(self) -> list[FrontEnd]:
        return [part for part in self.front_ends if isinstance(part, FrontEnd)]


def _frames(front_end: FrontEnd) -> list[int]:
    """Hop, then frames at lengths that tell apart the ways to count them."""
    return [front_end.hop, *(front_end.num_frames(10 * front_end.hop + more) for more in (-1, 0, 1))]

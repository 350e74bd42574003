"""Landmarks of a recording: pairs of spectral peaks that survive gain, resampling, trimming and re-encoding.

Two recordings that share many pairs at one lag are candidates for the same sound; `finetune.guard.coherence` then decides.

Reference: Wang 2003, "An industrial-strength audio search algorithm", ISMIR, sections 2.1 to 2.3.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

# Hz. Lung sounds lie below 2 kHz, and any recorder keeps as much.
RATE = 4000
# Of the short-time spectrum: 128 ms long, every 32 ms.
WINDOW, HOP = 512, 128
# Bins of 62 to 594 Hz: below is the mains. Above, breath falls under noise at 30 dB SNR, whose peaks would hide those of the sound.
BINS = slice(8, 77)
# A peak is the largest of its neighbourhood: 11 bins (86 Hz) by 11 frames (0.35 s), some ten of them per second.
NEIGHBOURHOOD = (11, 11)
# Each peak is paired with the next ones within two seconds.
PARTNERS, REACH = 5, 63
# Pairs at one lag that make a candidate; two unrelated recordings seldom share more than three.
CANDIDATE_PAIRS = 6
# A pair of peaks that this many recordings have, or a tenth of them, is mains or a filter's edge and tells nothing.
COMMON = 100


def landmarks(waveform: Tensor) -> np.ndarray:
    """Pairs of peaks.

    Args:
        waveform: float32 [T] at `RATE`.

    Returns:
        int64 [n, 2]: hash of a pair (both bins and their distance in frames), and the frame of its first peak.
    """
    if len(waveform) < WINDOW:
        return np.empty((0, 2), np.int64)
    spectrum = torch.stft(waveform, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True).abs()[BINS]
    # The largest of a rectangle is the largest over its columns of the largest of each: 22 comparisons in place of 121.
    largest = spectrum[None]
    for size in ((NEIGHBOURHOOD[0], 1), (1, NEIGHBOURHOOD[1])):
        largest = torch.nn.functional.max_pool2d(largest, size, 1, (size[0] // 2, size[1] // 2))
    frame, bin_ = np.nonzero(((spectrum == largest[0]) & (spectrum > 0)).numpy().T)
    pairs = []
    for step in range(1, PARTNERS + 1):
        distance = frame[step:] - frame[:-step]
        near = distance <= REACH
        hashes = (bin_[:-step] * 256 + bin_[step:]) * (REACH + 1) + distance
        pairs.append(np.column_stack([hashes, frame[:-step]])[near])
    return np.concatenate(pairs).astype(np.int64)


def candidates(marks: Sequence[np.ndarray]) -> Iterator[list[tuple[int, int]]]:
    """Recordings that share pairs of peaks at one lag.

    Args:
        marks: of each recording, see `landmarks`.

    Yields:
        For each recording j in turn its candidates (i, lag), i < j: what recording j has at frame t, i has at about t + lag.
    """
    sizes = [len(each) for each in marks]
    owner = np.repeat(np.arange(len(marks)), sizes)
    joined = np.concatenate([*marks, np.empty((0, 2), np.int64)])
    order = np.argsort(joined[:, 0], kind="stable")
    hashes, frame, owner = joined[order, 0], joined[order, 1], owner[order]
    for number, own in enumerate(marks):
        first, last = np.searchsorted(hashes, own[:, 0], "left"), np.searchsorted(hashes, own[:, 0], "right")
        telling = last - first <= max(COMMON, len(marks) // 10)
        first, count, at = first[telling], (last - first)[telling], own[telling, 1]
        position = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
        # Stable sorting keeps the recordings of one hash in order, but a comparison is as cheap as a search.
        lag = frame[position] - np.repeat(at, count)
        earlier = owner[position] < number
        yield _by_lag(owner[position][earlier], lag[earlier])


def _by_lag(owner: np.ndarray, lag: np.ndarray) -> list[tuple[int, int]]:
    """Owners of at least `CANDIDATE_PAIRS` pairs at one lag or the next, with that lag; each owner once, with its best."""
    # A cut between two frames moves some peaks by one, so a lag counts together with its successor.
    span = 2**32
    key, count = np.unique(owner.astype(np.int64) * span + lag + span // 2, return_counts=True)
    following = np.append(np.where(np.diff(key) == 1, count[1:], 0), 0) if len(key) else count
    best: dict[int, tuple[int, int]] = {}
    total = count + following
    for at in np.flatnonzero(total >= CANDIDATE_PAIRS):
        who, shift = int(key[at] // span), int(key[at] % span - span // 2)
        best[who] = max(best.get(who, (0, 0)), (int(total[at]), shift))
    return [(who, shift) for who, (_, shift) in sorted(best.items())]

"""How a clip of any length gets its probabilities: the one definition behind validation, held-out predictions and the exported file.

A model takes windows of one length. A clip is cut into windows that overlap (a shorter one is filled), each window gets its
probabilities, and the clip's are their mean or maximum. Written in TorchScript's subset of Python, since the exported file contains
these very functions.
"""

import torch
from torch import Tensor

from common.windows import window_starts


def clip_windows(lengths: list[int], window: int, hop: int) -> tuple[Tensor, Tensor]:
    """The windows of some clips, clip by clip.

    Args:
        lengths: samples of each clip, at least 1.
        window: samples of a window, T.
        hop: samples from one window to the next, 1 to T; the last window ends with the clip.

    Returns:
        Which clip each window is of, int64 [W], and its first sample within the clip, int64 [W].

    Example:
        >>> clip_windows([3, 10], window=4, hop=4)
        (tensor([0, 1, 1, 1]), tensor([0, 0, 4, 6]))
    """
    clip: list[int] = []
    start: list[int] = []
    for number in range(len(lengths)):
        for first in window_starts(lengths[number], window, hop):
            clip.append(number)
            start.append(first)
    return torch.tensor(clip, dtype=torch.int64), torch.tensor(start, dtype=torch.int64)


def pool_windows(probabilities: Tensor, clip: Tensor, num_clips: int, aggregate: str) -> Tensor:
    """The probabilities of clips from those of their windows.

    Args:
        probabilities: of each window, [W, L].
        clip: which clip each window is of, int64 [W]; every clip has at least one.
        num_clips: B.
        aggregate: "mean" of the windows, or "max": one window with a wheeze makes a clip with a wheeze.

    Returns:
        [B, L], as ``probabilities``.
    """
    pooled = torch.zeros([num_clips, probabilities.shape[1]], dtype=probabilities.dtype, device=probabilities.device)
    if aggregate == "max":
        return pooled.scatter_reduce(0, clip.unsqueeze(1).expand_as(probabilities), probabilities, "amax")
    count = torch.bincount(clip, minlength=num_clips).to(probabilities.dtype)
    return pooled.index_add(0, clip, probabilities) / count.unsqueeze(1)

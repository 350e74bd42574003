"""How a clip of any length becomes windows of the one length that a model takes: shared by training, evaluation and export.

Written in TorchScript's subset of Python, since the exported file contains these very functions.
"""

import torch
from torch import Tensor


def fill_index(num_samples: int, lengths: Tensor, mode: str) -> Tensor:
    """Positions to read so that a clip of ``lengths`` samples fills ``num_samples``.

    Args:
        num_samples: samples wanted, T.
        lengths: samples that each clip has, int64 [B], at least 1.
        mode: "repeat" (the clip starts again at its end) or "pad" (zeros follow; their positions are -1).

    Returns:
        int64 [B, T].
    """
    position = torch.arange(num_samples, device=lengths.device).unsqueeze(0)
    if mode == "repeat":
        return position % lengths.unsqueeze(1)
    return torch.where(position < lengths.unsqueeze(1), position, torch.full_like(position, -1))


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """First samples of the windows that cover ``length`` samples, see `covering_windows`."""
    return clip_windows([length], window, hop)[1].tolist()


def clip_windows(lengths: list[int], window: int, hop: int) -> tuple[Tensor, Tensor]:
    """As `covering_windows`, of lengths in a list.

    Example:
        >>> clip_windows([3, 10], window=4, hop=4)
        (tensor([0, 1, 1, 1]), tensor([0, 0, 4, 6]))
    """
    return covering_windows(torch.tensor(lengths, dtype=torch.int64), window, hop, max(lengths) if len(lengths) > 0 else 0)


def covering_windows(lengths: Tensor, window: int, hop: int, longest: int) -> tuple[Tensor, Tensor]:
    """The windows that cover some clips, clip by clip: ``hop`` apart, the last one ending with the clip.

    A clip no longer than one window gets the single start 0 (and is filled, see `fill_index`). Without a loop or a branch over the
    lengths, so that a graph of it (``torch.export``, ONNX) takes any.

    Args:
        lengths: samples of each clip, int64 [B], at least 1.
        window: samples of a window, T.
        hop: samples from one window to the next, 1 to T.
        longest: a number that no length exceeds.

    Returns:
        Which clip each window is of, int64 [W], and its first sample within the clip, int64 [W].
    """
    last = (lengths - window).clamp(min=0)
    count = 1 + torch.div(last + hop - 1, hop, rounding_mode="floor")
    number = torch.arange(1 + (longest + hop - 1) // hop, device=lengths.device).unsqueeze(0)
    taken = torch.nonzero(number < count.unsqueeze(1))
    clip = taken[:, 0]
    return clip, torch.minimum(taken[:, 1] * hop, last[clip])


def cut_windows(waveform: Tensor, lengths: Tensor, clip: Tensor, start: Tensor, window: int, short_clips: str) -> Tensor:
    """The windows that begin at ``start`` in the rows ``clip`` of ``waveform``.

    Args:
        waveform: clips, [B, T].
        lengths: samples of each clip, int64 [B], at least 1.
        clip: which row each window is of, int64 [W].
        start: its first sample there, int64 [W].
        window: samples of a window.
        short_clips: what fills a clip shorter than a window, see `fill_index`.

    Returns:
        [W, window].
    """
    # A clip longer than a window starts inside and never runs out; a shorter one starts at 0 and is filled.
    within = fill_index(window, lengths[clip] - start, short_clips)
    column = (within + start.unsqueeze(1)).clamp(min=0)
    taken = waveform[clip.unsqueeze(1), column]
    return torch.where(within >= 0, taken, torch.zeros_like(taken))


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
    count = pooled[:, :1].index_add(0, clip, torch.ones_like(probabilities[:, :1]))
    return pooled.index_add(0, clip, probabilities) / count

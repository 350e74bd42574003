"""Similarities of the views of a batch, some rows of their matrix at a time, so that memory grows with the batch and not its square.

What a loss needs of the matrix [2B, 2B] are sums over each row. A block of rows is computed, summed and forgotten, and computed again in
the backward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; Cheng et al. 2024, "Breaking the Memory Barrier:
Near Infinite Batch Size Scaling for Contrastive Loss", does the same in tiles). Value and gradient are those of the whole matrix.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Numbers in a block, 64 MiB in float32: batches of up to 2048 clips on one device are one block, which nothing is computed twice for.
BLOCK_NUMBERS = 2**24

RowSum = Callable[[Tensor, Tensor], Tensor]


def mean_over_rows(row_sum: RowSum, z1: Tensor, z2: Tensor, own: slice | None = None, block: int | None = None) -> Tensor:
    """Mean over views of a function of their similarities with all views, differentiable.

    Args:
        row_sum: from all views of unit length, [2B, D], first views first, and the numbers of some of them, int64 [R], to the sum
            over these of the function. Called outside of autocast.
        z1: first views' projections, [B, D], of any length.
        z2: second views' projections of the same clips, [B, D].
        own: clips whose views are meant; all by default. In a run of several processes each takes its own, against all.
        block: views per call of ``row_sum``; by default as many as give `BLOCK_NUMBERS` similarities.

    Returns:
        Scalar, float32 or better whatever the precision of the projections and of autocast.
    """
    # Without this, the matrix product would be done in bf16 or fp16 again.
    with torch.autocast(z1.device.type, enabled=False):
        z = torch.cat([z1, z2])
        z = functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        rows = torch.arange(len(z), device=z.device).view(2, -1)[:, own or slice(None)].flatten()
        blocks = rows.split(block or max(1, BLOCK_NUMBERS // len(z)))
        if len(blocks) == 1:
            return row_sum(z, rows) / len(rows)
        # Nothing in it is random, and asking for the random state would make the host wait.
        sums = [checkpoint(row_sum, z, part, use_reentrant=False, preserve_rng_state=False) for part in blocks]
        return torch.stack(sums).sum() / len(rows)


def similarities(z: Tensor, rows: Tensor, codes: Tensor | None, temperature: float = 1.0) -> Tensor:
    """Cosine similarities over temperature of the views ``rows`` with all views; -inf where they may not be compared, see `barred`.

    Args:
        z: views of unit length, [2B, D].
        rows: numbers of views, int64 [R].
        codes: see `barred`.
        temperature: what they are divided by.

    Returns:
        [R, 2B].
    """
    return ((z[rows] / temperature) @ z.T).masked_fill_(barred(rows, len(z) // 2, codes), -torch.inf)


def barred(rows: Tensor, size: int, codes: Tensor | None) -> Tensor:
    """Which views may not be negatives of the views ``rows``: themselves, and both views of other clips with a code in common.

    Codes are compared between clips, not between views: where the views of clip a come from recordings 1 and 2, and those of clip b from
    2 and 3, the partner of a's first view is recording 2, which may not also be its negative.

    Args:
        rows: numbers of views, int64 [R]; view i and view i + B are those of clip i.
        size: number of clips, B.
        codes: int64 [V, B], a code (of the recording, say) per view, V = 2, or per clip, V = 1; None bars no other clips.

    Returns:
        Bool [R, 2B].
    """
    itself = rows.unsqueeze(1) == torch.arange(2 * size, device=rows.device)
    if codes is None:
        return itself
    clip = rows % size
    common = torch.zeros(len(rows), size, dtype=torch.bool, device=rows.device)
    for mine in codes:
        for theirs in codes:
            common |= mine[clip].unsqueeze(1) == theirs
    common &= clip.unsqueeze(1) != torch.arange(size, device=rows.device)
    return itself | common.repeat(1, 2)


def partners(rows: Tensor, size: int) -> Tensor:
    """Number of each view's partner, int64 [R]: view i of the first B belongs to view i + B."""
    return (rows + size) % (2 * size)

"""Read stretches of waveforms from per-example positions, in one gather; a waveform repeats endlessly in both directions."""

import torch
from torch import Tensor


def read_stretches(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """Read ``length`` samples from each start, past the waveform's end from its beginning again.

    Args:
        x: waveforms, float [B, T].
        starts: first samples, int64 [B, N]; any integer, taken modulo T.
        length: samples per stretch.

    Returns:
        float [B, N, length].
    """
    num_samples = x.shape[-1]
    extended = num_samples + length - 1
    x = x.index_select(1, torch.arange(extended, device=x.device) % num_samples)
    # unfold is a view in which stretch t begins at sample t: selecting its rows copies runs of samples instead of single ones.
    stretches = x.flatten().unfold(0, length, 1)
    row = torch.arange(len(x), device=x.device).unsqueeze(1) * extended
    return stretches.index_select(0, (starts % num_samples + row).flatten()).unflatten(0, starts.shape)

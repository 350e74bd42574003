"""Made spectrograms."""

import torch


def spectrograms(batch: int, num_frames: int = 128) -> torch.Tensor:
    return torch.randn(batch, 1, 64, num_frames, generator=torch.Generator().manual_seed(batch))

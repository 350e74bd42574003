"""Made waveforms for the front ends."""

import torch

RATE = 4000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def breath_like(num_clips: int, num_samples: int) -> torch.Tensor:
    """Noise whose power falls as 1/f^2, as that of lungs does, at most 0.5."""
    spectrum = torch.fft.rfft(noise(num_clips, num_samples))
    waveform = torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[1] + 1), num_samples)
    return 0.5 * waveform / waveform.abs().amax(dim=1, keepdim=True)

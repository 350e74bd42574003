"""The FrontEnd interface: waveform to normalised spectrogram, inside the model, on the device of its input."""

from typing import Any

import torch
from torch import Tensor, nn

from common.described import Described


class FrontEnd(Described, nn.Module):
    """Waveform [B, T] to spectrogram [B, 1, F, N].

    A subclass sets the attributes below, which the data module, the encoder and the export read instead of stating them again,
    and writes ``spectrogram``. Traceable: no Python branch on the values or the batch size.

    Kept in float32 with autocast off, whatever the precision of the rest: under bf16 a log-mel of a 1/f signal is off by 5.7 dB
    in the mean, and TF32 convolutions by 10 dB and more at the worst.

    Attributes:
        sample_rate: Hz, of the waveforms that it takes.
        hop: samples between frames.
        f_min_hz: lowest frequency, Hz.
        f_max_hz: highest frequency, Hz.
        num_bins: F.
        min_samples: shortest T that it takes.
    """

    sample_rate: int
    hop: int
    f_min_hz: float
    f_max_hz: float
    num_bins: int
    min_samples: int

    def forward(self, waveform: Tensor) -> Tensor:
        """Map waveforms [B, T], float in [-1, 1], to spectrograms [B, 1, F, N], float32."""
        with torch.autocast(waveform.device.type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
            return self.spectrogram(waveform.float()).unsqueeze(1)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Map float32 waveforms [B, T] to normalised spectrograms [B, F, N]."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        band = f"{self.f_min_hz:g} to {self.f_max_hz:g} Hz"
        return f"{self.sample_rate} Hz, hop {self.hop}, {self.num_bins} bins, {band}"


def standardise(spectrogram: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each spectrogram of [B, F, N] mean 0 and standard deviation 1, which also removes the recording's gain."""
    deviation, mean = torch.std_mean(spectrogram, dim=(-2, -1), keepdim=True, correction=0)
    return (spectrogram - mean) / (deviation + eps)


def keep_out_of_checkpoints(module: nn.Module) -> None:
    """Leave ``module``'s buffers out of every state dict: fixed kernels (4 MB at n_fft 1024) are rebuilt, not stored."""
    for part in module.modules():
        part._non_persistent_buffers_set.update(part._buffers)


def quiet(arguments: dict[str, Any]) -> dict[str, Any]:
    """``arguments`` for an nnAudio class, told not to print."""
    return {**arguments, "verbose": False}

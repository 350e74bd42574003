"""Log-mel spectrogram in decibels: what the PANNs were trained on."""

import math

import torch
from torch import Tensor, nn

from common.frontends.filterbank import Engine, FilterbankFrontEnd, PowerSpectrum
from common.frontends.log_mel import mel_weights


class PannsLogMel(FilterbankFrontEnd):
    """Power in Slaney's mel bands in dB: waveforms [B, T] to [B, 1, num_mels, 1 + T // hop].

    The defaults are those of PANNs (Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
    Recognition", section V.A), whose weights `Panns` starts from; the network's first batch norm holds the mean of each band in
    these decibels. The networks for 16 kHz want ``sample_rate=16000, n_fft=512, hop=160, f_max_hz=8000``, those for 8 kHz
    ``sample_rate=8000, n_fft=256, hop=80, f_max_hz=4000``. The result is not relative to the clip's level.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame and of its periodic Hann window.
        hop: samples between frames.
        num_mels: F.
        f_min_hz: lower edge of the lowest band, Hz.
        f_max_hz: upper edge of the highest band, Hz.
        floor_db: level below which nothing is told apart, dB; 0 dB is a power of 1 in the sum under the window, so that a sine at full
            scale lies some 48 dB above it at n_fft 1024.
        engine: "fft", "nnaudio" or "auto" (the faster on each device), see `PowerSpectrum`.

    Raises:
        ValueError: a band beyond half the sample rate, or more mels than the bins of the FFT can fill.
    """

    def __init__(
        self,
        sample_rate: int = 32000,
        n_fft: int = 1024,
        hop: int = 320,
        num_mels: int = 64,
        f_min_hz: float = 50.0,
        f_max_hz: float = 14000.0,
        floor_db: float = -100.0,
        engine: Engine = "auto",
    ) -> None:
        weights = mel_weights(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
        power_spectrum = PowerSpectrum(n_fft, hop, engine, torch.hann_window(n_fft))
        super().__init__(sample_rate, power_spectrum, weights, f_min_hz, f_max_hz, _Decibels(floor_db))


class _Decibels(nn.Module):
    """Power [B, F, N] to 10 log10(power), at least ``floor_db``."""

    def __init__(self, floor_db: float) -> None:
        super().__init__()
        if not -200 <= floor_db <= 0:
            raise ValueError(f"floor_db is {floor_db:g}, expected between -200 and 0 dB")
        self.floor = 10 ** (floor_db / 10)

    def forward(self, power: Tensor) -> Tensor:
        return torch.log(power.clamp(min=self.floor)) * (10 / math.log(10))

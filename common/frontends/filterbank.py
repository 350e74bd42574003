"""A short-time power spectrum, a bank of filters over its bins, a logarithm: what log-mel and gammatone share."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.frontends.base import FrontEnd, LogCompression, Normalise, check_band, keep_out_of_checkpoints

Engine = Literal["auto", "nnaudio", "fft"]


class PowerSpectrum(nn.Module):
    """Waveforms [B, T] to power [B, 1 + n_fft // 2, N], Hann window, reflected at the ends; a sine at full scale peaks at 1.

    Args:
        n_fft: samples per frame.
        hop: samples between frames.
        engine: "nnaudio" convolves with Fourier kernels, "fft" takes torch.stft; both give the same numbers. "auto" convolves
            on a GPU and takes the FFT on a CPU, where it is the faster, and in a traced file, which could not keep TF32 away
            from its convolutions.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, engine: Engine = "auto") -> None:
        super().__init__()
        if engine not in ("auto", "nnaudio", "fft"):
            raise ValueError(f"engine is {engine!r}, expected 'auto', 'nnaudio' or 'fft'")
        if n_fft < 4 or n_fft % 2:
            raise ValueError(f"n_fft is {n_fft}, expected an even number of samples, at least 4")
        if not 1 <= hop <= n_fft:
            raise ValueError(f"hop is {hop}, expected 1 to n_fft = {n_fft} samples; a longer hop would skip samples")
        self.n_fft, self.hop, self.engine = n_fft, hop, engine
        window = torch.hann_window(n_fft)
        # A sine at full scale has the amplitude 1/2 at its frequency and at the negative one.
        self.full_scale = float(window.sum() / 2)
        self.register_buffer("window", window / self.full_scale)
        self.stft: nn.Module | None = None
        if engine != "fft":
            from nnAudio.features import STFT

            self.stft = STFT(n_fft=n_fft, hop_length=hop, pad_mode="reflect", output_format="Complex", verbose=False)
        keep_out_of_checkpoints(self)

    def forward(self, waveform: Tensor) -> Tensor:
        if self.stft is not None and (self.engine == "nnaudio" or (waveform.is_cuda and not torch.jit.is_tracing())):
            # The complex output and not the magnitude: nnAudio's square root has no finite gradient at silence.
            squared = (self.stft(waveform) / self.full_scale).square()
        else:
            spectrum = torch.stft(waveform, self.n_fft, self.hop, window=self.window, pad_mode="reflect", return_complex=True)
            squared = torch.view_as_real(spectrum).square()
        # Three times as fast on a CPU as summing over a last axis of two.
        return squared[..., 0] + squared[..., 1]

    def extra_repr(self) -> str:
        return f"n_fft={self.n_fft}, hop={self.hop}, engine={self.engine}"


class FilterbankFrontEnd(FrontEnd):
    """Log energies of a bank of filters, each a weighting of the bins of the power spectrum.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.
        hop: samples between frames.
        weights: of the power spectrum's bins, [F, 1 + n_fft // 2].
        f_min_hz: lower edge of the lowest filter, Hz.
        f_max_hz: upper edge of the highest filter, Hz.
        engine: see `PowerSpectrum`.
        normalise: see `LogCompression`.
        floor_db: see `LogCompression`.
    """

    weights: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop: int,
        weights: np.ndarray,
        f_min_hz: float,
        f_max_hz: float,
        engine: Engine,
        normalise: Normalise,
        floor_db: float | None,
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.f_min_hz, self.f_max_hz = sample_rate, hop, f_min_hz, f_max_hz
        self.num_bins = len(weights)
        self.min_samples = n_fft // 2 + 1
        self.power_spectrum = PowerSpectrum(n_fft, hop, engine)
        self.compression = LogCompression(normalise, floor_db)
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32))
        keep_out_of_checkpoints(self)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return self.compression(torch.matmul(self.weights, self.power_spectrum(waveform)))


def check_filterbank(sample_rate: int, n_fft: int, num_filters: int, f_min_hz: float, f_max_hz: float) -> None:
    """Refuse settings from which no filter bank can be made, before nnAudio divides by them.

    Raises:
        ValueError: naming the setting.
    """
    check_band(sample_rate, f_min_hz, f_max_hz)
    if num_filters < 1:
        raise ValueError(f"the number of filters is {num_filters}, expected at least 1")
    if n_fft < 4 or n_fft % 2:
        raise ValueError(f"n_fft is {n_fft}, expected an even number of samples, at least 4")

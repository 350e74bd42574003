"""A short-time power spectrum, a bank of filters over its bins, a logarithm: what log-mels and gammatone share."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.frontends.base import FrontEnd, check_band, keep_out_of_checkpoints

Engine = Literal["auto", "nnaudio", "fft"]


class PowerSpectrum(nn.Module):
    """Waveforms [B, T] to power [B, 1 + n_fft // 2, N], reflected at the ends.

    Args:
        n_fft: samples per frame.
        hop: samples between frames.
        engine: "nnaudio" convolves with Fourier kernels, "fft" takes torch.stft; both give the same numbers. "auto" convolves
            on a GPU and takes the FFT on a CPU, where it is the faster, and in a traced file, which could not keep TF32 away
            from its convolutions. In an exported graph it convolves, which every runtime of ONNX can.
        window: of up to n_fft samples, applied as it is in the middle of the frame; by default a periodic Hann window of n_fft,
            scaled so that a sine at full scale peaks at 1.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, engine: Engine = "auto", window: Tensor | None = None) -> None:
        super().__init__()
        if engine not in ("auto", "nnaudio", "fft"):
            raise ValueError(f"engine is {engine!r}, expected 'auto', 'nnaudio' or 'fft'")
        if n_fft < 4 or n_fft % 2:
            raise ValueError(f"n_fft is {n_fft}, expected an even number of samples, at least 4")
        if not 1 <= hop <= n_fft:
            raise ValueError(f"hop is {hop}, expected 1 to n_fft = {n_fft} samples; a longer hop would skip samples")
        self.n_fft, self.hop, self.engine = n_fft, hop, engine
        if window is None:
            hann = torch.hann_window(n_fft)
            # A sine at full scale has the amplitude 1/2 at its frequency and at the negative one.
            window = hann / (hann.sum() / 2)
        # As torch.stft centres a window that is shorter than the frame.
        before = (n_fft - len(window)) // 2
        self.register_buffer("window", nn.functional.pad(window, (before, n_fft - len(window) - before)))
        self.stft: nn.Module | None = None
        if engine != "fft":
            from nnAudio.features import STFT

            stft = STFT(n_fft=n_fft, hop_length=hop, window="boxcar", pad_mode="reflect", output_format="Complex", verbose=False)
            # nnAudio knows periodic windows only, so the window goes onto its kernels here.
            for kernels in (stft.wsin, stft.wcos):
                kernels.mul_(self.window)
            self.stft = stft
        keep_out_of_checkpoints(self)

    def forward(self, waveform: Tensor) -> Tensor:
        convolves = torch.compiler.is_exporting() or (waveform.is_cuda and not torch.jit.is_tracing())
        if self.stft is not None and (self.engine == "nnaudio" or convolves):
            # The complex output and not the magnitude: nnAudio's square root has no finite gradient at silence.
            squared = self.stft(waveform).square()
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
        power_spectrum: states frame and hop.
        weights: of the power spectrum's bins, [F, 1 + n_fft // 2].
        f_min_hz: lower edge of the lowest filter, Hz.
        f_max_hz: upper edge of the highest filter, Hz.
        compression: what each band's energy becomes, [B, F, N] -> [B, F, N], for example `LogCompression`.
    """

    weights: Tensor

    def __init__(
        self,
        sample_rate: int,
        power_spectrum: PowerSpectrum,
        weights: np.ndarray,
        f_min_hz: float,
        f_max_hz: float,
        compression: nn.Module,
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.f_min_hz, self.f_max_hz = sample_rate, power_spectrum.hop, f_min_hz, f_max_hz
        self.num_bins = len(weights)
        self.min_samples = power_spectrum.n_fft // 2 + 1
        self.power_spectrum = power_spectrum
        self.compression = compression
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32))
        keep_out_of_checkpoints(self)

    @property
    def bin_hz(self) -> Tensor:
        weights = self.weights.cpu()
        return weights @ torch.linspace(0, self.sample_rate / 2, weights.shape[1]) / weights.sum(dim=1)

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

"""Log-mel spectrogram with Kaldi's mel bands: what the EfficientAT networks were trained on."""

import numpy as np
import torch
from torch import Tensor, nn

from common.frontends.filterbank import Engine, FilterbankFrontEnd, PowerSpectrum, check_filterbank


class KaldiLogMel(FilterbankFrontEnd):
    """Log of the power in Kaldi's mel bands: waveforms [B, T] to [B, 1, num_mels, 1 + (T - 1) // hop].

    The defaults are those of EfficientAT (Schmid et al. 2023, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN
    Knowledge Distillation"; its models/preprocess.py in evaluation mode), whose weights `EfficientAT` starts from: change a number
    and the network hears what it was not trained on. The result is not relative to the clip's level.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.
        win_length: samples of the symmetric Hann window in the middle of the frame, 2 to ``n_fft``.
        hop: samples between frames.
        num_mels: F. A band too narrow to hold a bin of the FFT stays at ``log_offset``, as in Kaldi.
        f_min_hz: lower edge of the lowest band, Hz.
        f_max_hz: upper edge of the highest band, Hz.
        pre_emphasis: c in x[t] - c x[t - 1], 0 to 1; the first sample has nothing before it and is left out.
        log_offset: added to the power inside the natural logarithm; not relative to full scale.
        mean: taken from the logarithm.
        scale: by which the result is divided.
        engine: "fft", "nnaudio" or "auto" (the faster on each device), see `PowerSpectrum`.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        sample_rate: int = 32000,
        n_fft: int = 1024,
        win_length: int = 800,
        hop: int = 320,
        num_mels: int = 128,
        f_min_hz: float = 0.0,
        f_max_hz: float = 15000.0,
        pre_emphasis: float = 0.97,
        log_offset: float = 1e-5,
        mean: float = -4.5,
        scale: float = 5.0,
        engine: Engine = "auto",
    ) -> None:
        if not 2 <= win_length <= n_fft:
            raise ValueError(f"win_length is {win_length}, expected 2 to n_fft = {n_fft} samples")
        if not 0 <= pre_emphasis <= 1:
            raise ValueError(f"pre_emphasis is {pre_emphasis:g}, expected 0 to 1")
        weights = kaldi_mel_weights(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
        power_spectrum = PowerSpectrum(n_fft, hop, engine, torch.hann_window(win_length, periodic=False))
        super().__init__(sample_rate, power_spectrum, weights, f_min_hz, f_max_hz, _OffsetLog(log_offset, mean, scale))
        self.pre_emphasis = pre_emphasis
        self.min_samples += 1

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return super().spectrogram(waveform[:, 1:] - self.pre_emphasis * waveform[:, :-1])

    def num_frames(self, num_samples: int) -> int:
        """N for T = ``num_samples``, of which pre-emphasis leaves one less."""
        return super().num_frames(num_samples - 1)


class _OffsetLog(nn.Module):
    """Power [B, F, N] to (log(power + offset) - mean) / scale."""

    def __init__(self, offset: float, mean: float, scale: float) -> None:
        super().__init__()
        for name, value in (("log_offset", offset), ("scale", scale)):
            if value <= 0:
                raise ValueError(f"{name} is {value:g}, expected a number above 0")
        self.offset, self.mean, self.scale = offset, mean, scale

    def forward(self, power: Tensor) -> Tensor:
        return (torch.log(power + self.offset) - self.mean) / self.scale


def kaldi_mel_weights(sample_rate: int, n_fft: int, num_mels: int, f_min_hz: float, f_max_hz: float) -> np.ndarray:
    """Kaldi's mel filter bank [num_mels, 1 + n_fft // 2]: triangles of height 1, straight over mel and not over Hz.

    The mel scale is 1127 ln(1 + f / 700 Hz), and the bin at half the sample rate belongs to no filter.

    Raises:
        ValueError: naming the setting out of range.
    """
    check_filterbank(sample_rate, n_fft, num_mels, f_min_hz, f_max_hz)
    edges = np.linspace(_mel(np.array(f_min_hz)), _mel(np.array(f_max_hz)), num_mels + 2)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    position = _mel(np.arange(n_fft // 2) * sample_rate / n_fft)
    weights = np.minimum((position - lower) / (centre - lower), (upper - position) / (upper - centre)).clip(min=0)
    return np.pad(weights, ((0, 0), (0, 1)))


def _mel(frequency_hz: np.ndarray) -> np.ndarray:
    return 1127 * np.log(1 + frequency_hz / 700)

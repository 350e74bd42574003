"""Constant-Q transform: bins spaced as musical notes are, each as many periods long."""

import math

import torch
from torch import Tensor

from common.frontends.base import FrontEnd, LogCompression, Normalise, check_band, keep_out_of_checkpoints


class Cqt(FrontEnd):
    """Log power of nnAudio's constant-Q transform: waveforms [B, T] to [B, 1, num_bins, 1 + T // hop].

    Of nnAudio's two it takes CQT1992v2, which convolves with every kernel at the full rate: nearer to librosa's at 4 kHz than
    CQT2010v2, whose repeated halving needs a ``hop`` that is divisible as often as there are octaves.

    Reference: J. C. Brown and M. S. Puckette, "An efficient algorithm for the calculation of a constant Q transform", 1992.

    Args:
        sample_rate: Hz.
        hop: samples between frames; 64 at 4 kHz are 16 ms.
        num_bins: F; 60 at 12 per octave are five octaves, from 50 to 1511 Hz.
        bins_per_octave: bins that double the frequency.
        f_min_hz: centre of the lowest bin, Hz. Its kernel, the longest, spans 17 periods at 12 bins per octave (0.34 s at
            50 Hz), and half of it (up to the next power of two) is the shortest clip that is taken.
        normalise: "clip" (each clip to mean 0, deviation 1) or "none", see `LogCompression`.
        floor_db: added inside the logarithm, dB, see `LogCompression`.

    Raises:
        ValueError: the highest bin lies beyond half the sample rate.
    """

    def __init__(
        self,
        sample_rate: int = 4000,
        hop: int = 64,
        num_bins: int = 60,
        bins_per_octave: int = 12,
        f_min_hz: float = 50.0,
        normalise: Normalise = "clip",
        floor_db: float | None = None,
    ) -> None:
        super().__init__()
        if num_bins < 2 or bins_per_octave < 1 or hop < 1:
            raise ValueError(f"num_bins {num_bins}, bins_per_octave {bins_per_octave} and hop {hop}: expected at least 2, 1 and 1")
        if f_min_hz <= 0:
            raise ValueError(f"f_min_hz is {f_min_hz:g} Hz, expected a frequency above 0: octaves have no bottom")
        f_max_hz = f_min_hz * 2 ** ((num_bins - 1) / bins_per_octave)
        try:
            check_band(sample_rate, f_min_hz, f_max_hz)
        except ValueError as error:
            raise ValueError(f"{num_bins} bins of {bins_per_octave} per octave from {f_min_hz:g} Hz: {error}; take fewer bins") from error
        from nnAudio.features import CQT1992v2

        self.sample_rate, self.hop, self.num_bins, self.f_min_hz, self.f_max_hz = sample_rate, hop, num_bins, f_min_hz, f_max_hz
        self.transform = CQT1992v2(
            sr=sample_rate,
            hop_length=hop,
            fmin=f_min_hz,
            n_bins=num_bins,
            bins_per_octave=bins_per_octave,
            pad_mode="reflect",
            output_format="Complex",
            verbose=False,
        )
        self.min_samples = self.transform.kernel_width // 2 + 1
        self.compression = LogCompression(normalise, floor_db)
        keep_out_of_checkpoints(self)

    @property
    def bin_hz(self) -> Tensor:
        return torch.logspace(math.log10(self.f_min_hz), math.log10(self.f_max_hz), self.num_bins)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        # "wrap" gives a sine at full scale the magnitude 1 in its bin, whatever the length of the kernel.
        real, imag = self.transform(waveform, normalization_type="wrap").unbind(-1)
        return self.compression(real.square() + imag.square())

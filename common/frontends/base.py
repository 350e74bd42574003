"""The FrontEnd interface: waveform to normalised spectrogram, inside the model, on the device of its input."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.described import Described

Normalise = Literal["clip", "none"]
# Samples that are worked on at a time on a CPU: 16 clips of 8 s at 4 kHz.
SAMPLES_IN_CACHE = 2**19


class FrontEnd(Described, nn.Module):
    """Waveform [B, T] to spectrogram [B, 1, F, N].

    A subclass sets the attributes below, which the data module, the encoder and the export read instead of stating them again,
    and writes ``spectrogram``. Traceable: no Python branch on the values or the batch size. What a clip becomes does not
    depend on the other clips of its batch.

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

    @property
    def bin_hz(self) -> Tensor | None:
        """Centre of each bin, Hz, float32 [F] on the CPU; None where bins are no bands of frequency, or their centres are not known."""
        return None

    def forward(self, waveform: Tensor) -> Tensor:
        """Map waveforms [B, T], float in [-1, 1], to spectrograms [B, 1, F, N], float32. A constant waveform is read as silence.

        Raises:
            ValueError: not two dimensions, or fewer than ``min_samples`` samples.
        """
        # A traced shape is a tensor: comparing it would write this call's length into the graph.
        if not torch.jit.is_tracing() and (waveform.dim() != 2 or waveform.shape[-1] < self.min_samples):
            expected = f"[B, T] with T of at least {self.min_samples} samples ({1000 * self.min_samples / self.sample_rate:.0f} ms)"
            raise ValueError(f"{type(self).__name__} was given a waveform of shape {list(waveform.shape)}, expected {expected}")
        with torch.autocast(waveform.device.type, enabled=False), exact_float32(waveform.device.type):
            return torch.cat([self.spectrogram(_without_constants(part)) for part in self._parts(waveform.float())]).unsqueeze(1)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Map float32 waveforms [B, T] to normalised spectrograms [B, F, N]."""
        raise NotImplementedError

    def _parts(self, waveform: Tensor) -> Sequence[Tensor]:
        """The batch in parts that stay in a processor's cache; whole on other devices and in a traced or exported file."""
        if waveform.device.type != "cpu" or torch.jit.is_tracing() or torch.compiler.is_exporting():
            return [waveform]
        return waveform.split(max(1, SAMPLES_IN_CACHE // waveform.shape[-1]))

    def num_frames(self, num_samples: int) -> int:
        """N for T = ``num_samples``: frames are centred on samples 0, hop, 2 hop, ... up to T."""
        return 1 + num_samples // self.hop

    def extra_repr(self) -> str:
        band = f"{self.f_min_hz:g} to {self.f_max_hz:g} Hz"
        return f"{self.sample_rate} Hz, hop {self.hop}, {self.num_bins} bins, {band}"


@contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Convolve and multiply float32 in float32 inside the block, whatever precision the process has chosen for speed.

    Not ``torch.backends.cudnn.flags(allow_tf32=False)``: its other defaults switch cuDNN off and forget ``deterministic``. The
    flags per operator used here can also be read when a process has set them in the older way, and restoring them restores it.

    Args:
        device_type: "cuda" or "cpu"; elsewhere nothing is to be done.
    """
    flags: list[Any]
    if device_type == "cuda":
        flags = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    elif device_type == "cpu":
        # set_float32_matmul_precision("medium") lets oneDNN multiply in bf16.
        flags = [torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]
    else:
        flags = []
    before = [flag.fp32_precision for flag in flags]
    try:
        for flag in flags:
            flag.fp32_precision = "ieee"
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.fp32_precision = value


def _without_constants(waveform: Tensor) -> Tensor:
    """``waveform`` [B, T] with zeros for rows that never change.

    All that such a row has inside the bands is the rounding of the Fourier transform, which the standardisation would blow up to
    full size: a spectrogram that changes with the batch it is computed in.
    """
    # Not aminmax, which along a dimension is ten times slower on a CPU than these two.
    changes = waveform.amax(dim=-1, keepdim=True) != waveform.amin(dim=-1, keepdim=True)
    return waveform * changes


class LogCompression(nn.Module):
    """Power [B, F, N] to log(power + eps), natural logarithm.

    Args:
        normalise: "clip": power relative to the clip's own mean, then mean 0 and standard deviation 1 over the clip, so that
            the result does not change with the recording's gain. "none": power relative to a sine at full scale, as it is.
        floor_db: eps in dB relative to that reference. It keeps silence finite, and at the default of -60 dB ("clip") it covers
            the quantisation noise of 16-bit recordings, whose level tells the device and not the patient. -120 dB for "none".
    """

    def __init__(self, normalise: Normalise = "clip", floor_db: float | None = None) -> None:
        super().__init__()
        if normalise not in ("clip", "none"):
            raise ValueError(f"normalise is {normalise!r}, expected 'clip' or 'none'")
        if floor_db is None:
            floor_db = -60.0 if normalise == "clip" else -120.0
        if not -200 <= floor_db < 0:
            raise ValueError(f"floor_db is {floor_db:g}, expected between -200 and 0 dB")
        self.normalise = normalise
        self.eps = 10 ** (floor_db / 10)

    def forward(self, power: Tensor) -> Tensor:
        if self.normalise == "none":
            return torch.log(power + self.eps)
        # -140 dB: far below the quantisation noise of any recording, so only digital silence is held by it.
        reference = power.mean(dim=(-2, -1), keepdim=True).clamp(min=1e-14)
        # log(power / reference + eps) but for the constant log(reference), which the standardisation takes out.
        spectrogram = standardise(torch.log(power + self.eps * reference))
        # Of silence it leaves the rounding of a mean, which no two machines have in common: 0 in its place.
        return spectrogram * (power.amax(dim=(-2, -1), keepdim=True) > 0)

    def extra_repr(self) -> str:
        return f"normalise={self.normalise}, floor {10 * math.log10(self.eps):g} dB"


def standardise(spectrogram: Tensor, eps: float = 1e-3) -> Tensor:
    """Give each log spectrogram of [B, F, N] mean 0 and standard deviation 1 over bins and frames.

    Args:
        eps: added to the standard deviation in quadrature, in units of the logarithm. Real clips have 1 and more; a constant
            clip becomes 0 with a finite gradient.
    """
    # In two passes: as exact as torch.var_mean, which on a CPU takes longer than the Fourier transform before it.
    centred = spectrogram - spectrogram.mean(dim=(-2, -1), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=(-2, -1), keepdim=True) + eps**2)


def keep_out_of_checkpoints(module: nn.Module) -> None:
    """Leave ``module``'s buffers out of every state dict: fixed kernels (4 MB at n_fft 1024) are rebuilt, not stored."""
    for part in module.modules():
        part._non_persistent_buffers_set.update(part._buffers)


def check_band(sample_rate: int, f_min_hz: float, f_max_hz: float) -> None:
    """Refuse a band that is empty or reaches beyond half of ``sample_rate`` (Hz).

    Raises:
        ValueError: saying which bound is wrong.
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}, expected a positive number of Hz")
    if f_max_hz > sample_rate / 2:
        raise ValueError(
            f"f_max_hz is {f_max_hz:g} Hz, but at a sample rate of {sample_rate} Hz nothing exists above {sample_rate / 2:g} Hz"
        )
    if not 0 <= f_min_hz < f_max_hz:
        raise ValueError(f"f_min_hz is {f_min_hz:g} Hz, expected at least 0 and below f_max_hz = {f_max_hz:g} Hz")

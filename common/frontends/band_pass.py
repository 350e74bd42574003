"""A band-pass before any front end."""

import math

import torch
from torch import Tensor

from common.frontends.base import FrontEnd


class BandPass(FrontEnd):
    """Waveforms without what lies outside a band, then another front end: [B, T] to that front end's [B, 1, F, N].

    A Butterworth filter run forwards and backwards, as scipy.signal.sosfiltfilt does: no shift in time, twice the attenuation, 6 dB
    at the edges. It is applied as the product with |H(f)|^2 over the Fourier transform of the clip followed by its mirror image,
    so the ends have no step and no length is too short. What the filter takes out does not count towards a clip's level either.

    Args:
        front_end: what hears the rest; it states the sample rate.
        f_low_hz: lower edge, Hz; none where None.
        f_high_hz: upper edge, Hz; none where None.
        order: of the Butterworth prototype, as scipy.signal.butter counts it.

    Raises:
        ValueError: no edge, an edge beyond half the sample rate, or edges in the wrong order.
    """

    def __init__(self, front_end: FrontEnd, f_low_hz: float | None = 100.0, f_high_hz: float | None = 1800.0, order: int = 4) -> None:
        super().__init__()
        rate = front_end.sample_rate
        if f_low_hz is None and f_high_hz is None:
            raise ValueError("f_low_hz and f_high_hz are both None: give at least one, or leave the band-pass out")
        for name, edge in (("f_low_hz", f_low_hz), ("f_high_hz", f_high_hz)):
            if edge is not None and not 0 < edge < rate / 2:
                raise ValueError(f"{name} is {edge:g} Hz, expected above 0 and below half the sample rate, {rate / 2:g} Hz")
        if f_low_hz is not None and f_high_hz is not None and f_low_hz >= f_high_hz:
            raise ValueError(f"f_low_hz is {f_low_hz:g} Hz, expected below f_high_hz = {f_high_hz:g} Hz")
        if not 1 <= order <= 16:
            raise ValueError(f"order is {order}, expected 1 to 16")
        self.front_end = front_end
        self.f_low_hz, self.f_high_hz, self.order = f_low_hz, f_high_hz, order
        self.sample_rate, self.hop, self.num_bins = rate, front_end.hop, front_end.num_bins
        self.f_min_hz, self.f_max_hz, self.min_samples = front_end.f_min_hz, front_end.f_max_hz, front_end.min_samples

    @property
    def bin_hz(self) -> Tensor | None:
        return self.front_end.bin_hz

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return self.front_end.spectrogram(self.filtered(waveform))

    def filtered(self, waveform: Tensor) -> Tensor:
        """Float32 waveforms [B, T] without what lies outside the band, [B, T]."""
        spectrum = torch.fft.rfft(torch.cat((waveform, waveform.flip(-1)), dim=-1))
        # 2 T is even, so irfft finds the length by itself.
        return torch.fft.irfft(spectrum * self._gain(waveform))[:, : waveform.shape[-1]]

    def num_frames(self, num_samples: int) -> int:
        """N for T = ``num_samples``, that of the front end behind."""
        return self.front_end.num_frames(num_samples)

    def _gain(self, waveform: Tensor) -> Tensor:
        """|H(f)|^2 at the 1 + T frequencies from 0 to half the sample rate, [1 + T]."""
        # Counted from the input, not made by arange, whose device a trace would record for good.
        ones = torch.ones_like(waveform[0])
        number = torch.cat((torch.zeros_like(ones[:1]), ones.cumsum(dim=0)))
        # Frequency of the analogue prototype under the bilinear transform.
        frequency = torch.tan(number * (math.pi / 2) / number[-1])
        low = 0.0 if self.f_low_hz is None else math.tan(math.pi * self.f_low_hz / self.sample_rate)
        if self.f_high_hz is None:
            distance = low / frequency
        else:
            high = math.tan(math.pi * self.f_high_hz / self.sample_rate)
            # With no lower edge this is the low-pass, frequency / high, also at 0.
            distance = frequency / high if low == 0 else (frequency.square() - low * high) / (frequency * (high - low))
        return 1 / (1 + distance.square() ** self.order)

    def extra_repr(self) -> str:
        edges = ["-" if edge is None else f"{edge:g}" for edge in (self.f_low_hz, self.f_high_hz)]
        return f"{edges[0]} to {edges[1]} Hz, order {self.order}, then {super().extra_repr()}"

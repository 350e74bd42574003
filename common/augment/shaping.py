"""Random frequency responses, applied without delay (zero phase): equaliser and band limits, alone or in one transform."""

import math

import torch
from torch import Tensor, nn

from common.augment.base import Augmentation, Draw, Sampler, checked_range, join_draws, picked_examples, put_back, split_draw
from common.augment.levels import decibels_to_amplitude
from common.errors import UserError

DB_PER_NEPER = 20 / math.log(10)


class FrequencyResponse(Augmentation):
    """Multiply each waveform's spectrum by a gain curve; a subclass writes ``draw_parameters`` and ``response_db``.

    The waveform is filtered as if it repeated endlessly. The responses here are smooth, so what crosses the clip's ends is short.

    Args:
        sample_rate: Hz.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, sample_rate: int, p: float = 1.0) -> None:
        super().__init__(p)
        self.sample_rate = sample_rate

    def response_db(self, frequency_hz: Tensor, draw: Draw) -> Tensor:
        """Gain in dB at ``frequency_hz`` [Q], ascending from 0, for each drawn example: [R, Q]."""
        raise NotImplementedError

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return filter_waveforms(x, self.response_db(self.frequencies(x), draw))

    def frequencies(self, x: Tensor) -> Tensor:
        """Frequencies of the spectrum of ``x`` [B, T], Hz: [Q], Q = T // 2 + 1."""
        return torch.fft.rfftfreq(x.shape[-1], 1 / self.sample_rate, device=x.device)


def filter_waveforms(x: Tensor, response_db: Tensor) -> Tensor:
    """Waveforms [B, T] with the gains ``response_db`` [B, T // 2 + 1], dB, put on their spectra."""
    return torch.fft.irfft(torch.fft.rfft(x) * decibels_to_amplitude(response_db), n=x.shape[-1])


class RandomEqualiser(FrequencyResponse):
    """A smooth random curve over log frequency, as microphones, tubes and chest walls differ.

    Gains are drawn at points evenly spaced in octaves and joined by half cosines, so the curve stays between its points.

    Args:
        sample_rate: Hz.
        gain_db: range of the gain at a point, dB.
        num_points: points from ``f_min_hz`` to the Nyquist frequency, at least 2.
        f_min_hz: the lowest point; below it the gain is that of the point.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(
        self,
        sample_rate: int,
        gain_db: tuple[float, float] = (-9.0, 9.0),
        num_points: int = 6,
        f_min_hz: float = 60.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(sample_rate, p)
        self.gain_db = checked_range(self, "gain_db", gain_db)
        self.f_min_hz = checked_range(self, "f_min_hz", (f_min_hz, sample_rate / 2), low=1)[0]
        if num_points < 2:
            raise UserError(f"RandomEqualiser: num_points is {num_points}, expected at least 2.")
        self.num_points = num_points

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"gain_db": random.uniform(*self.gain_db, self.num_points)}

    def response_db(self, frequency_hz: Tensor, draw: Draw) -> Tensor:
        octaves = math.log2(self.sample_rate / 2 / self.f_min_hz)
        position = (frequency_hz / self.f_min_hz).clamp(min=1).log2() * ((self.num_points - 1) / octaves)
        points = torch.arange(self.num_points, device=frequency_hz.device).unsqueeze(1)
        nearness = (1 - (position - points).abs()).clamp(min=0)
        return draw["gain_db"] @ ((1 - torch.cos(math.pi * nearness)) / 2)


class BandLimit(FrequencyResponse):
    """A random low and high cut with Butterworth magnitudes, as of a stethoscope's bell or diaphragm and its own filters.

    |H|^2 = 1 / (1 + (f_low / f)^n) / (1 + (f / f_high)^n) where n = slope / 3.01 dB: -3 dB at either cut, then the slope.

    Args:
        sample_rate: Hz.
        low_cut_hz: range of the frequency below which the sound is weakened, Hz.
        high_cut_hz: range of the frequency above which the sound is weakened, Hz. It may lie above the Nyquist frequency, where it
            does next to nothing. The default keeps the band of wheezes (100 to 1000 Hz) within 3 dB.
        slope_db_per_octave: range of the slopes, drawn for the two cuts apart.
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(
        self,
        sample_rate: int,
        low_cut_hz: tuple[float, float] = (20.0, 120.0),
        high_cut_hz: tuple[float, float] = (800.0, 2000.0),
        slope_db_per_octave: tuple[float, float] = (6.0, 18.0),
        p: float = 1.0,
    ) -> None:
        super().__init__(sample_rate, p)
        self.low_cut_hz = checked_range(self, "low_cut_hz", low_cut_hz, low=1)
        self.high_cut_hz = checked_range(self, "high_cut_hz", high_cut_hz, low=self.low_cut_hz[1])
        self.slope_db_per_octave = checked_range(self, "slope_db_per_octave", slope_db_per_octave, low=0)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {
            "low_cut_hz": random.log_uniform(*self.low_cut_hz),
            "high_cut_hz": random.log_uniform(*self.high_cut_hz),
            "slope_db_per_octave": random.uniform(*self.slope_db_per_octave, 2),
        }

    def response_db(self, frequency_hz: Tensor, draw: Draw) -> Tensor:
        # A millihertz instead of 0 Hz: a slope of 0 dB would multiply an infinity.
        log_frequency = frequency_hz.clamp(min=1e-3).log()
        # dB per octave / (20 log10(2)) is the order of a Butterworth filter; n in the formula above is twice that.
        exponent = draw["slope_db_per_octave"] / (10 * math.log10(2))
        low = exponent[:, :1] * (draw["low_cut_hz"].log().unsqueeze(1) - log_frequency)
        high = exponent[:, 1:] * (log_frequency - draw["high_cut_hz"].log().unsqueeze(1))
        # Not softplus, which takes half of the augmentation's time. What overflows here is -inf dB, an amplitude of 0.
        return low.exp_().add_(1).mul_(high.exp_().add_(1)).log_().mul_(-DB_PER_NEPER / 2)


class SpectralShaping(Augmentation):
    """Several frequency responses within one transform, which is where their time goes.

    Args:
        parts: responses to multiply; each keeps its own ``p``.
        p: probability that an example gets any of them, 0 to 1.
    """

    def __init__(self, parts: list[FrequencyResponse], p: float = 1.0) -> None:
        super().__init__(p)
        rates = sorted({part.sample_rate for part in parts})
        if len(rates) != 1:
            raise UserError(f"SpectralShaping: its parts are for sample rates {rates} Hz, expected parts of one rate.")
        self.parts = nn.ModuleList(parts)

    def responses(self) -> list[FrequencyResponse]:
        """The parts, in order."""
        return [part for part in self.parts if isinstance(part, FrequencyResponse)]

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return join_draws([part.draw(x[: random.size], random.generator) for part in self.responses()])

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        frequency_hz = self.responses()[0].frequencies(x)
        total_db = x.new_zeros(len(x), len(frequency_hz))
        for number, part in enumerate(self.responses()):
            part_draw = split_draw(draw, number)
            part_db = part.response_db(frequency_hz, part_draw)
            total_db = put_back(total_db, picked_examples(total_db, part_draw) + part_db, part_draw)
        return filter_waveforms(x, total_db)

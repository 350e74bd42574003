"""What a classical classifier sees of a clip: numbers pooled over the whole of it, however long it is."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from common.audio.resample import resample
from common.described import Described
from common.encoders.base import Encoder
from common.encoders.pooling import check_pooling, pooled
from common.frontends.base import FrontEnd, exact_float32
from finetune.encoder_source import front_end_and_encoder

# Digital silence has no level to bring anywhere: what is quieter than this is taken as this loud, root mean square of full scale.
LEAST_RMS = 1e-6
# The number of a percentile, 0 to 100.
PERCENTILE = re.compile(r"p(\d{1,2}|100)")


class Features(Described, nn.Module):
    """Waveforms [B, T] of any length to features [B, D]. A subclass sets ``front_end`` and ``min_s`` and writes ``forward``.

    Attributes:
        front_end: states the sample rate of the waveforms.
        min_s: clips shorter than this are repeated until they are as long, s.
    """

    front_end: FrontEnd
    min_s: float

    def forward(self, waveform: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def min_samples(self) -> int:
        """Shortest T."""
        return max(self.front_end.min_samples, round(self.min_s * self.front_end.sample_rate))


class SpectrogramFeatures(Features):
    """Statistics over time of each bin of a spectrogram, one statistic after the other: D = statistics x F.

    Args:
        front_end: waveform to spectrogram.
        statistics: of "mean", "std" (standard deviation, of the frames as they are: not n - 1), "min", "max" and percentiles "p0" to
            "p100" (linear between frames).
        min_s: clips shorter than this are repeated until they are as long, s.

    Raises:
        ValueError: a statistic is unknown.
    """

    def __init__(
        self, front_end: FrontEnd, statistics: Sequence[str] = ("mean", "std", "max", "p10", "p50", "p90"), min_s: float = 1.0
    ) -> None:
        super().__init__()
        for name in statistics:
            if name not in ("mean", "std", "min", "max") and not PERCENTILE.fullmatch(name):
                raise ValueError(f"the statistic {name!r} is unknown, expected mean, std, min, max or a percentile p0 to p100")
        if not statistics:
            raise ValueError("statistics is empty, expected one or more")
        self.front_end, self.statistics, self.min_s = front_end, tuple(statistics), min_s

    def forward(self, waveform: Tensor) -> Tensor:
        spectrogram = self.front_end(waveform).squeeze(1).cpu().numpy().astype(np.float64)
        pooled = np.concatenate([_statistic(spectrogram, name) for name in self.statistics], axis=1)
        return torch.from_numpy(pooled.astype(np.float32))


class EncoderFeatures(Features):
    """The map of a frozen encoder over frequency and time [B, D, F', N'], pooled over the whole clip; one pooling after the other.

    The clip is not cut into windows: what is pooled is the map of all of it.

    Lung sounds lie below 2 kHz, where an encoder of everyday sounds has few of its bands. Played ``speeds`` times faster they lie that
    much higher and change that much faster; each speed is a view of the clip with features of its own.

    Args:
        front_end: waveform to spectrogram; left out where ``encoder_file`` is given.
        encoder: in evaluation mode, with the weights that it was given; left out where ``encoder_file`` is given.
        encoder_file: file from ``pretrain`` with both; `finetune baseline --encoder` sets it.
        pooling: of the last map: "mean", "max", "frequency", "frequency_max", "frequency_std", "embedding"; see
            `common.encoders.pooling.pooled`.
        min_s: clips shorter than this are repeated until they are as long, s.
        speeds: how many times faster than recorded the clip is played, 0.25 to 16; one view each, one after the other.
        layers: layers of the encoder, numbered from its input, whose maps are pooled too, after the last one's: each by mean, maximum and
            standard deviation over time at each of its frequencies. Earlier layers see less of the context and keep short sounds apart.
        level_db: bring each clip to this root mean square first, decibels relative to full scale; None leaves it as loud as it is.

    Raises:
        UserError: no encoder is given, or the config and the encoder file disagree.
        ValueError: a pooling is unknown, or a speed or level out of range.
    """

    def __init__(
        self,
        front_end: FrontEnd | None = None,
        encoder: Encoder | None = None,
        encoder_file: str | None = None,
        pooling: Sequence[str] = ("mean", "max", "frequency"),
        min_s: float = 1.0,
        speeds: Sequence[float] = (1.0,),
        layers: Sequence[int] = (),
        level_db: float | None = None,
    ) -> None:
        super().__init__()
        check_pooling(pooling, layers)
        if not speeds or not all(0.25 <= speed <= 16 for speed in speeds):
            raise ValueError(f"speeds is {list(speeds)}, expected one or more numbers from 0.25 to 16")
        if level_db is not None and not -100 <= level_db <= 0:
            raise ValueError(f"level_db is {level_db:g}, expected -100 to 0 dB relative to full scale")
        self.front_end, self.encoder = front_end_and_encoder(front_end, encoder, encoder_file)
        self.pooling, self.min_s = tuple(pooling), min_s
        self.speeds, self.layers, self.level_db = tuple(speeds), tuple(layers), level_db

    def forward(self, waveform: Tensor) -> Tensor:
        if self.level_db is not None:
            rms = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=LEAST_RMS)
            waveform = waveform * (10 ** (self.level_db / 20) / rms)
        return torch.cat([self._pooled(self._played(waveform, speed)) for speed in self.speeds], dim=1)

    def _played(self, waveform: Tensor, speed: float) -> Tensor:
        """[B, T] to [B, T / speed], repeated where it is then too short for the front end."""
        rate = self.front_end.sample_rate
        played = waveform if speed == 1 else resample(waveform, rate, round(rate / speed))
        missing = -(-self.front_end.min_samples // played.shape[1])
        return played if missing <= 1 else played.repeat(1, missing)

    def _pooled(self, waveform: Tensor) -> Tensor:
        spectrogram = self.front_end(waveform)
        with exact_float32(waveform.device.type):
            return pooled(self.encoder, spectrogram, self.pooling, self.layers)


def _statistic(spectrogram: np.ndarray, name: str) -> np.ndarray:
    """[B, F, N] to [B, F]."""
    if PERCENTILE.fullmatch(name):
        return np.percentile(spectrogram, int(name[1:]), axis=-1)
    return getattr(np, name)(spectrogram, axis=-1)

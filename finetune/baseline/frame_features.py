"""What a network over frames sees of a clip: layers of a frozen encoder, window by window and frame by frame."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from common.encoders.base import Encoder
from common.encoders.layer_frames import LayerFrames
from common.frontends.base import FrontEnd, exact_float32
from common.windows import window_starts
from finetune.baseline.features import Features
from finetune.encoder_source import front_end_and_encoder


class FrameFeatures(Features):
    """Maps of a frozen encoder's layers: waveforms [B, T] to [B, W * N, D], the N frames of one window after those of the other.

    Args:
        front_end: waveform to spectrogram; left out where ``encoder_file`` is given.
        encoder: in evaluation mode, with the weights that it was given; left out where ``encoder_file`` is given.
        encoder_file: file from ``pretrain`` with both; `finetune baseline --encoder` sets it.
        layers: layers of the encoder, numbered from its input, that have the same number of frames.
        clip_s: length of the windows, s; shorter clips are repeated until they are as long.
        hop_s: from one window of a longer clip to the next, s; half of ``clip_s`` by default.

    Attributes:
        frames: `common.encoders.LayerFrames` of the encoder.
        num_frames: N.

    Raises:
        UserError: no encoder is given, config and encoder file disagree, or the encoder has no such layer.
        ValueError: no layer is named, their frames differ in number, or a length is out of range.
    """

    def __init__(
        self,
        front_end: FrontEnd | None = None,
        encoder: Encoder | None = None,
        encoder_file: str | None = None,
        layers: Sequence[int] = (9, 12),
        clip_s: float = 10.0,
        hop_s: float | None = None,
    ) -> None:
        super().__init__()
        self.front_end, encoder = front_end_and_encoder(front_end, encoder, encoder_file)
        self.clip_s, self.hop_s = clip_s, clip_s / 2 if hop_s is None else hop_s
        if not 0 < self.hop_s <= clip_s:
            raise ValueError(f"clip_s is {clip_s:g} s and hop_s {self.hop_s:g} s, expected above 0 and hop_s no longer than clip_s")
        self.frames, self.min_s = LayerFrames(encoder, self.front_end.num_bins, layers), clip_s
        with torch.inference_mode():
            self.num_frames = self.eval()(torch.zeros(1, self.min_samples)).shape[1]

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.clip_s * self.front_end.sample_rate)

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return max(1, round(self.hop_s * self.front_end.sample_rate))

    def forward(self, waveform: Tensor) -> Tensor:
        starts = window_starts(waveform.shape[1], self.window, self.hop)
        windows = torch.cat([waveform[:, start : start + self.window] for start in starts])
        spectrogram = self.front_end(windows)
        with exact_float32(waveform.device.type):
            found = self.frames.eval().feature_map(spectrogram).transpose(1, 2)
        return torch.cat(found.split(len(waveform)), dim=1)

    def spans(self, num_samples: int) -> np.ndarray:
        """Where the frames of a clip of ``num_samples`` lie in it: beginnings and ends, s, float64 [W * N, 2]; without length behind it."""
        rate = self.front_end.sample_rate
        starts = np.array(window_starts(num_samples, self.window, self.hop)) / rate
        frames = np.arange(self.num_frames + 1) * self.frames.frame_s(self.front_end)
        borders = np.minimum(starts[:, None] + np.minimum(frames, self.clip_s), num_samples / rate)
        return np.column_stack([borders[:, :-1].ravel(), borders[:, 1:].ravel()])

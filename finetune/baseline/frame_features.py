"""What a network over frames sees of a clip: layers of a frozen encoder, frame by frame."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from common.encoders.base import Encoder
from common.frontends.base import FrontEnd, exact_float32
from finetune.baseline.features import Features
from finetune.encoder_source import front_end_and_encoder

# Frames of the spectrogram by which it is found how many of them a layer makes one of.
MANY_FRAMES = 1024


class FrameFeatures(Features):
    """Maps of a frozen encoder's layers frame by frame: waveforms [B, T] to [B, N, D], D = channels x frequencies of all layers.

    Args:
        front_end: waveform to spectrogram; left out where ``encoder_file`` is given.
        encoder: in evaluation mode, with the weights that it was given; left out where ``encoder_file`` is given.
        encoder_file: file from ``pretrain`` with both; `finetune baseline --encoder` sets it.
        layers: layers of the encoder, numbered from its input, that have the same number of frames.
        min_s: clips shorter than this are repeated until they are as long, s.

    Attributes:
        frame_s: from one frame to the next, s.

    Raises:
        UserError: no encoder is given, config and encoder file disagree, or the encoder has no such layer.
        ValueError: no layer is named, or their frames differ in number.
    """

    def __init__(
        self,
        front_end: FrontEnd | None = None,
        encoder: Encoder | None = None,
        encoder_file: str | None = None,
        layers: Sequence[int] = (9, 12),
        min_s: float = 1.0,
    ) -> None:
        super().__init__()
        self.front_end, self.encoder = front_end_and_encoder(front_end, encoder, encoder_file)
        self.layers, self.min_s = tuple(layers), min_s
        with torch.inference_mode():
            silence = torch.zeros(1, 1, self.front_end.num_bins, MANY_FRAMES)
            frames = {layer: found.shape[3] for layer, found in zip(layers, self._maps(silence), strict=True)}
        if len(set(frames.values())) != 1:
            said = ", ".join(f"layer {layer} has {number}" for layer, number in frames.items())
            raise ValueError(
                f"of {MANY_FRAMES} frames of the spectrogram {said or 'nothing is left'}: expected layers of as many frames each"
            )
        self.frame_s = round(MANY_FRAMES / frames[layers[0]]) * self.front_end.hop / self.front_end.sample_rate

    def forward(self, waveform: Tensor) -> Tensor:
        spectrogram = self.front_end(waveform)
        with exact_float32(waveform.device.type):
            return torch.cat([found.flatten(1, 2).transpose(1, 2) for found in self._maps(spectrogram)], dim=2)

    def _maps(self, spectrogram: Tensor) -> list[Tensor]:
        return self.encoder.eval().layer_maps(spectrogram, self.layers)

    def spans(self, frames: int, duration_s: float) -> np.ndarray:
        """Where the ``frames`` of a clip of ``duration_s`` lie in it: beginnings and ends, s, float64 [N, 2]."""
        borders = np.minimum(np.arange(frames + 1) * self.frame_s, duration_s)
        return np.column_stack([borders[:-1], borders[1:]])

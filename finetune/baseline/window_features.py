"""What a classical classifier sees of a clip window by window: layers of a frozen encoder pooled over each window's time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from common.encoders.base import Encoder
from common.frontends.base import FrontEnd, exact_float32
from common.windows import window_starts
from finetune.baseline.features import OF_LAYERS, OVER_MAP, Features
from finetune.encoder_source import front_end_and_encoder

# Frames of the spectrogram by which it is found how many of them a layer makes one of.
MANY_FRAMES = 1024


class WindowFeatures(Features):
    """Maps of a frozen encoder's layers, cut into windows: waveforms [B, T] to [B, W, D].

    The encoder hears the whole clip; its maps are cut, so that a window's first frames know what was before them. Windows are ``hop_s``
    apart, and the last one ends with the clip. Each is pooled by mean, maximum and standard deviation over time at each frequency of each
    layer, one after the other. A clip shorter than a window is repeated until it fills one.

    Args:
        front_end: waveform to spectrogram; left out where ``encoder_file`` is given.
        encoder: in evaluation mode, with the weights that it was given; left out where ``encoder_file`` is given.
        encoder_file: file from ``pretrain`` with both; `finetune baseline --encoder` sets it.
        layers: layers of the encoder, numbered from its input.
        window_s: length of a window, s, in whole frames of the layer with the fewest.
        hop_s: from one window to the next, s, likewise, up to ``window_s``.

    Attributes:
        frame_s: between two frames of the layer with the fewest, s.

    Raises:
        UserError: no encoder is given, config and encoder file disagree, or the encoder has no such layer.
        ValueError: no layer is named, or window and hop are not as above.
    """

    def __init__(
        self,
        front_end: FrontEnd | None = None,
        encoder: Encoder | None = None,
        encoder_file: str | None = None,
        layers: Sequence[int] = (9, 12),
        window_s: float = 0.96,
        hop_s: float = 0.48,
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers is empty, expected one or more")
        self.front_end, self.encoder = front_end_and_encoder(front_end, encoder, encoder_file)
        self.layers, self.min_s = tuple(layers), window_s
        with torch.inference_mode():
            silence = torch.zeros(1, 1, self.front_end.num_bins, MANY_FRAMES)
            strides = [round(MANY_FRAMES / found.shape[3]) for found in self.encoder.eval().layer_maps(silence, self.layers)]
        self.finer = [max(strides) // stride for stride in strides]
        self.frame_s = max(strides) * self.front_end.hop / self.front_end.sample_rate
        self.window, self.hop = round(window_s / self.frame_s), round(hop_s / self.frame_s)
        if not 1 <= self.hop <= self.window:
            raise ValueError(
                f"window_s is {window_s:g} and hop_s {hop_s:g}, which are {self.window} and {self.hop} of the layers' frames of "
                f"{self.frame_s:g} s: expected a hop of one frame at least, and a window no shorter"
            )

    def forward(self, waveform: Tensor) -> Tensor:
        spectrogram = self.front_end(waveform)
        with exact_float32(waveform.device.type):
            maps = self.encoder.layer_maps(spectrogram, self.layers)
            first = torch.tensor(window_starts(min(found.shape[3] for found in maps), self.window, self.hop))
            return torch.cat([self._pooled(found, first, finer) for found, finer in zip(maps, self.finer, strict=True)], dim=2)

    def _pooled(self, found: Tensor, first: Tensor, finer: int) -> Tensor:
        """[B, D, F', N'] to [B, W, 3 D F'], windows beginning at the frames ``first`` [W] of a layer with ``finer`` times fewer."""
        frames = (first[:, None] + torch.arange(self.window)).unsqueeze(2) * finer + torch.arange(finer)
        # The finer layer may end within the coarser one's last frame.
        cut = found[..., frames.flatten(1).clamp(max=found.shape[3] - 1)]
        of_windows = cut.permute(0, 3, 1, 2, 4).flatten(0, 1)
        pooled = torch.cat([OVER_MAP[name](of_windows) for name in OF_LAYERS], dim=1)
        return pooled.view(len(found), len(first), -1)

    def spans(self, windows: int, duration_s: float) -> np.ndarray:
        """Where the windows of a clip lie in it.

        Args:
            windows: W.
            duration_s: of the clip, s.

        Returns:
            Beginnings and ends, s, float64 [W, 2].
        """
        length_s = self.window * self.frame_s
        start = np.arange(windows) * self.hop * self.frame_s
        start[-1] = max(0.0, duration_s - length_s)
        return np.column_stack([start, np.minimum(start + length_s, duration_s)])

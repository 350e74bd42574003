"""Convolutions, then a recurrent network over time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.encoders.base import Encoder
from common.encoders.cnn import Cnn2d


class Crnn(Encoder):
    """The map of a `Cnn2d`, read over time in both directions by gated recurrent units.

    Çakır et al. 2017, "Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection", section III.

    Args:
        channels: of each block of convolutions; each halves frequency and time.
        hidden: of the recurrent units in each direction; D is twice that.
        num_layers: recurrent layers.
        dropout: probability after each block of convolutions but the last and between recurrent layers, 0 to 1.

    Shape:
        [B, 1, F, N] -> map [B, 2 * hidden, N'], as `Cnn2d` has it.
    """

    start: Tensor

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 128), hidden: int = 64, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden < 1 or num_layers < 1:
            raise ValueError(f"hidden is {hidden} and num_layers {num_layers}, expected at least 1 of each")
        self.convolutions = Cnn2d(channels, dropout)
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = nn.GRU(channels[-1], hidden, num_layers, batch_first=True, bidirectional=True, dropout=between)
        # Kept, not made by each call: a trace would record the device on which it was made.
        self.register_buffer("start", torch.zeros(2 * num_layers, 1, hidden), persistent=False)
        self.num_features = 2 * hidden

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        frames = self.convolutions.feature_map(spectrogram).transpose(1, 2)
        # In float32 under autocast: a state summed over hundreds of steps loses most in low precision.
        with torch.autocast(frames.device.type, enabled=False):
            states, _ = self.recurrent(frames.float(), self.start.expand(-1, frames.shape[0], -1).contiguous())
        return states.transpose(1, 2)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return [*self.convolutions.layer_groups(), list(self.recurrent.parameters())]

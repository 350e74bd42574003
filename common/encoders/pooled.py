"""An encoder whose embedding pools another's maps in several ways."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.encoders.base import Encoder
from common.encoders.pooling import check_pooling, pooled


class Pooled(Encoder):
    """The maps of another encoder, pooled in several ways, one after the other.

    A mean over time hides an event of some milliseconds in ten seconds and a mean over frequency where a tone lies; maxima, and means at
    each frequency, keep both for a linear head to weigh.

    Args:
        encoder: whose maps are pooled.
        num_bins: F of the front end, on which the size of a map depends.
        pooling: of the encoder's last map, see `common.encoders.pooling.pooled`.
        layers: earlier layers by number, whose maps are pooled too; none by default.

    Raises:
        UserError: the encoder has no such layers, or no axis of frequency to pool along.
        ValueError: a pooling is unknown.

    Shape:
        [B, 1, num_bins, N] -> [B, num_features]; the feature map is the encoder's own, [B, D, N'].
    """

    def __init__(
        self, encoder: Encoder, num_bins: int, pooling: Sequence[str] = ("mean", "max", "frequency"), layers: Sequence[int] = ()
    ) -> None:
        super().__init__()
        check_pooling(pooling, layers)
        self.encoder, self.pooling, self.layers = encoder, tuple(pooling), tuple(layers)
        was_training = encoder.training
        with torch.no_grad():
            # Long enough for the deepest network's strides.
            self.num_features = self.eval()(torch.zeros(1, 1, num_bins, 128)).shape[1]
        self.train(was_training)

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return self.encoder.feature_map(spectrogram)

    def frequency_map(self, spectrogram: Tensor) -> Tensor:
        return self.encoder.frequency_map(spectrogram)

    def layer_maps(self, spectrogram: Tensor, layers: Sequence[int]) -> list[Tensor]:
        return self.encoder.layer_maps(spectrogram, layers)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return pooled(self.encoder, spectrogram, self.pooling, self.layers)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return self.encoder.layer_groups()

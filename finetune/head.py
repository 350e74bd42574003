"""The head: what stands between an embedding and the logits."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from common.encoders.base import Encoder


class Head(nn.Module):
    """Embedding [B, D] to logits [B, L]: hidden layers, each linear with a ReLU, then a linear one; dropout before every linear layer.

    Args:
        num_features: D.
        num_outputs: L.
        units: outputs of each hidden layer, from the embedding on; none for one linear layer.
        dropout: probability in [0, 1) that an input of a linear layer is 0 in training.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, num_features: int, num_outputs: int, units: Sequence[int] = (), dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout <= 0.999:
            raise ValueError(f"model.dropout is {dropout:g}, expected 0 to 0.999")
        if any(width < 1 for width in units):
            raise ValueError(f"model.head_units is {list(units)}, expected at least 1 unit in each hidden layer")
        self.in_features = num_features
        widths = [num_features, *units]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Dropout(dropout), nn.Linear(inputs, outputs), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(widths[-1], num_outputs)

    @staticmethod
    def embedding(encoder: Encoder, spectrogram: Tensor) -> Tensor:
        """What the head takes of ``spectrogram`` [B, 1, F, N]: the encoder's embedding [B, D]."""
        return encoder(spectrogram)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.last(self.dropout(self.hidden(embedding)))

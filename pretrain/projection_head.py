"""The projection head of SimCLR: the loss acts behind it, and it is thrown away after pretraining."""

from torch import nn


class ProjectionHead(nn.Sequential):
    """Embeddings [B, D] to projections [B, projection_dim]: linear layers with batch norm, rectified between them.

    Batch norm after every layer, the last too, and no biases, as in the authors' code (the paper's text leaves the norms out). The
    last norm is not scaled or shifted: the loss looks at directions only.

    Args:
        num_features: D.
        hidden: width of the hidden layers.
        projection_dim: of the projections.
        num_layers: 2 as in SimCLR (Chen et al. 2020, section 4.2) or 3 as in SimCLR v2 (Chen et al. 2020b, section 2).
    """

    def __init__(self, num_features: int, hidden: int, projection_dim: int, num_layers: int = 2) -> None:
        layers: list[nn.Module] = []
        width = num_features
        for _ in range(num_layers - 1):
            layers += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
            width = hidden
        layers += [nn.Linear(width, projection_dim, bias=False), nn.BatchNorm1d(projection_dim, affine=False)]
        super().__init__(*layers)

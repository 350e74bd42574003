"""An encoder whose frames are those of earlier layers of another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.encoders.base import Encoder
from common.frontends.base import FrontEnd

# Frames of the spectrogram by which it is found how many of them a layer makes one of.
MANY_FRAMES = 1024


class LayerFrames(Encoder):
    """Layers of another encoder frame by frame: every channel at every frequency of their maps is a feature.

    Earlier layers have frames that are closer to each other and see less around them; a head that pools over time by itself can tell
    from them when a sound was.

    Args:
        encoder: whose layers are taken.
        num_bins: F of the front end, on which the size of a map depends.
        layers: by number from its input, that have the same number of frames.

    Attributes:
        stride: frames of the spectrogram that one frame of the layers stands for.

    Raises:
        UserError: the encoder has no such layers.
        ValueError: no layer is named, or their frames differ in number.

    Shape:
        [B, 1, num_bins, N] -> feature map [B, num_features, N'], num_features = channels x frequencies of all layers.
    """

    def __init__(self, encoder: Encoder, num_bins: int, layers: Sequence[int] = (9, 12)) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, tuple(layers)
        was_training = encoder.training
        with torch.no_grad():
            silence = torch.zeros(1, 1, num_bins, MANY_FRAMES)
            found = dict(zip(layers, encoder.eval().layer_maps(silence, layers), strict=True))
        encoder.train(was_training)
        frames = {layer: of.shape[3] for layer, of in found.items()}
        if len(set(frames.values())) != 1:
            said = ", ".join(f"layer {layer} has {number}" for layer, number in frames.items())
            raise ValueError(
                f"of {MANY_FRAMES} frames of the spectrogram {said or 'nothing is left'}: expected layers of as many frames each"
            )
        self.num_features = sum(of.shape[1] * of.shape[2] for of in found.values())
        # What lies behind the last of them takes no part: several processes would wait for its gradients.
        for parameters in encoder.layer_groups()[max(layers) + 1 :]:
            for parameter in parameters:
                parameter.requires_grad_(False)
        self.stride = round(MANY_FRAMES / frames[layers[0]])

    def frame_s(self, front_end: FrontEnd) -> float:
        """From one frame of the layers to the next behind ``front_end``, s."""
        return self.stride * front_end.hop / front_end.sample_rate

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return torch.cat([found.flatten(1, 2) for found in self.encoder.layer_maps(spectrogram, self.layers)], dim=1)

    def layer_maps(self, spectrogram: Tensor, layers: Sequence[int]) -> list[Tensor]:
        return self.encoder.layer_maps(spectrogram, layers)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return self.encoder.layer_groups()

"""The EfficientAT networks: MobileNetV3 trained to tag AudioSet (Schmid et al. 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.encoders.base import Encoder, load_weights, read_state_dict
from common.errors import UserError

# MobileNetV3-Large (Howard et al. 2019, "Searching for MobileNetV3", table 1), per block: kernel size, channels within the block,
# channels after it, squeeze-and-excitation, Hardswish (else ReLU), stride.
BLOCKS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


class EfficientAT(Encoder):
    """MobileNetV3-Large of a chosen width on one input channel, as EfficientAT trained it on AudioSet.

    Schmid et al. 2023, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation". Parameters have the names
    of the authors' files (mn04_as_mAP_432.pt and so on), whose classifier is left out. Those weights want the front end that they were
    trained behind, `common.frontends.KaldiLogMel`; at width 0.4 and without weights it is a small network for any front end.

    Args:
        width: multiplies the channels of MobileNetV3-Large: 0.4 for mn04, 1.0 for mn10, 4.0 for mn40.
        weights: start from this local file of a network of the same width.
        batch_norm_momentum: weight of the latest batch in the running statistics of the batch norms, above 0 and up to 1. The authors,
            who trained for hundreds of thousands of steps, have 0.01; a run of a few hundred never gets there with that.

    Raises:
        UserError: the weights do not fit, naming the first keys that do not.

    Shape:
        [B, 1, F, N] -> map [B, D, N'], N' = N / 32 rounded up; D = 384 at width 0.4, 960 at 1.0, 3840 at 4.0.
    """

    def __init__(self, width: float = 0.4, weights: str | None = None, batch_norm_momentum: float = 0.1) -> None:
        super().__init__()
        if not 0 < width <= 16:
            raise ValueError(f"width is {width:g}, expected above 0 and up to 16; 0.4 is mn04, 1 is mn10")
        if not 0 < batch_norm_momentum <= 1:
            raise ValueError(f"batch_norm_momentum is {batch_norm_momentum:g}, expected above 0 and up to 1")
        channels = scaled(16, width)
        layers: list[nn.Module] = [_ConvNorm(1, channels, 3, stride=2, activation=nn.Hardswish)]
        for kernel_size, inner, after, excite, hardswish, stride in BLOCKS:
            activation = nn.Hardswish if hardswish else nn.ReLU
            layers.append(_InvertedResidual(channels, scaled(inner, width), scaled(after, width), kernel_size, stride, activation, excite))
            channels = scaled(after, width)
        self.num_features = 6 * channels
        layers.append(_ConvNorm(channels, self.num_features, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = batch_norm_momentum
        if weights is not None:
            state = read_state_dict(weights)
            load_weights(self, {key: value for key, value in state.items() if not key.startswith("classifier.")}, weights)

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return self.frequency_map(spectrogram).mean(dim=2)

    def frequency_map(self, spectrogram: Tensor) -> Tensor:
        return self.features(spectrogram)

    def layer_maps(self, spectrogram: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of the stem (0), the blocks in the order of `BLOCKS` (1 to 15) and the last convolution (16)."""
        if not all(0 <= layer < len(self.features) for layer in layers):
            raise UserError(f"layers is {list(layers)}, but {type(self).__name__} has layers 0 to {len(self.features) - 1}.")
        found: dict[int, Tensor] = {}
        for number, layer in enumerate(list(self.features)[: max(layers, default=-1) + 1]):
            spectrogram = layer(spectrogram)
            found[number] = spectrogram
        return [found[layer] for layer in layers]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return [list(layer.parameters()) for layer in self.features]


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, to the nearest multiple of 8 that is no more than 10 % below (Howard et al.'s published code)."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm and, where named, an activation.

    In evaluation mode the norm is part of the convolution's weights, folded in double precision. AudioSet's norms take off means many
    times what is left: done apart in single precision, by whatever order of steps, a feature is off by 3e-5 and what a head makes of many
    of them by 1e-4, and an exported file by as much from the model. Folded, both compute with the same numbers. The weights are folded anew
    at each call, which short inputs feel: 1 s at width 0.4 takes 1.4 times as long, at width 4.0 3.8 times.
    """

    def __init__(
        self, before: int, after: int, kernel_size: int, stride: int = 1, groups: int = 1, activation: type[nn.Module] | None = None
    ) -> None:
        convolution = nn.Conv2d(before, after, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(after, eps=1e-3), *([] if activation is None else [activation()]))

    def forward(self, x: Tensor) -> Tensor:
        convolution, norm, *activation = self
        if norm.training:
            return super().forward(x)
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and isinstance(norm.running_var, Tensor)
        assert isinstance(norm.running_mean, Tensor), "it keeps statistics"
        # Apple's GPUs have no double precision.
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        scale = norm.weight.to(wide) * (norm.running_var.to(wide) + norm.eps).rsqrt()
        weight = (convolution.weight.to(wide) * scale[:, None, None, None]).to(convolution.weight.dtype)
        bias = (norm.bias.to(wide) - norm.running_mean.to(wide) * scale).to(norm.bias.dtype)
        x = convolution._conv_forward(x, weight, bias)
        return activation[0](x) if activation else x


class _InvertedResidual(nn.Module):
    """Widen to ``inner`` channels, convolve each apart, weigh the channels, narrow to ``after`` (Howard et al. 2019, figure 4)."""

    def __init__(
        self, before: int, inner: int, after: int, kernel_size: int, stride: int, activation: type[nn.Module], excite: bool
    ) -> None:
        super().__init__()
        steps: list[nn.Module] = [] if inner == before else [_ConvNorm(before, inner, 1, activation=activation)]
        steps.append(_ConvNorm(inner, inner, kernel_size, stride, groups=inner, activation=activation))
        if excite:
            steps.append(_Excitation(inner))
        steps.append(_ConvNorm(inner, after, 1))
        self.block = nn.Sequential(*steps)
        self.adds_input = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.adds_input else self.block(x)


class _Excitation(nn.Module):
    """The list of weighings as the authors name it. They can weigh frequencies and frames too; their released networks only channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([_ChannelExcitation(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.conc_se_layers[0](x)


class _ChannelExcitation(nn.Module):
    """Squeeze-and-excitation: each channel times a weight that depends on all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = scaled(channels // 4, 1.0)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.fc2(self.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * weight.unsqueeze(2).unsqueeze(3)

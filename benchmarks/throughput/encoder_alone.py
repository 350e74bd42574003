"""Way (a), the limit: the encoder alone, forward, backward and step, on spectrograms that are already in place."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.throughput.clock import seconds
from common.training.optim import make_optimizer
from pretrain.simclr import SimCLR

# Of the products by which a device's peak is measured: side of the square matrices, then channels, side and number of the images.
PEAK_SIZES = {"cuda": (8192, 1024, 64, 64), "cpu": (4096, 256, 32, 64)}


class EncoderAlone:
    """A copy of a module's encoder, trained on given spectrograms with the module's optimiser and precision.

    Args:
        module: whose encoder is copied, in training.
    """

    def __init__(self, module: SimCLR) -> None:
        self.encoder = copy.deepcopy(module.encoder)
        self.device = module.device
        self.precision = module.trainer.precision_plugin
        self.optimizer = make_optimizer(module.optimizer, [{"params": list(self.encoder.parameters()), "lr": 1e-5, "weight_decay": 0.0}])

    def step_seconds(self, spectrograms: list[Tensor]) -> float:
        """Seconds per step over ``spectrograms``, each [2B, 1, F, N]."""
        queue = iter(spectrograms)
        return seconds(lambda: self.step(next(queue)), self.device, repeats=len(spectrograms))

    def step(self, spectrogram: Tensor) -> None:
        with self.precision.forward_context():
            # The cheapest loss that reaches every weight.
            loss = self.encoder(spectrogram).float().square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def step_flops(self, spectrogram: Tensor) -> int:
        """Floating-point operations of one step: three times the forward pass's convolutions and matrix products, as torch counts them.

        A layer's gradients by its input and by its weights take what its forward pass does. Torch's own count of a backward pass
        takes the channels of a grouped convolution for connected.
        """
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad(), self.precision.forward_context():
            self.encoder(spectrogram)
        return 3 * counter.get_total_flops()


def peak_flops_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """What a large matrix product or, where that is faster, a large convolution reaches on ``device``: the peak that can be measured."""
    size, channels, side, clips = PEAK_SIZES[device.type]
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=device, dtype=dtype)
    convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(clips, channels, side, side, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        product_s = _least_seconds(lambda: one @ other, device)
        convolution_s = _least_seconds(lambda: convolution(image), device)
    return max(2 * size**3 / product_s, 2 * clips * side**2 * 9 * channels**2 / convolution_s)


def _least_seconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    return min(seconds(work, device) for _ in range(5))

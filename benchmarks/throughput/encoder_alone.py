"""Way (a), the limit: the encoder alone, forward, backward and step, on spectrograms that are already in place."""

import copy

import torch
from torch import Tensor

from benchmarks.throughput.clock import seconds
from common.training.optim import make_optimizer
from pretrain.simclr import SimCLR


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
        """Floating-point operations of one step, counted by torch (convolutions and matrix products)."""
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter:
            self.step(spectrogram)
        return counter.get_total_flops()


def peak_flops_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """What a large matrix product reaches on ``device``: the peak that can be measured."""
    size = 8192 if device.type == "cuda" else 4096
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    one @ other
    return 2 * size**3 / min(seconds(lambda: one @ other, device) for _ in range(5))

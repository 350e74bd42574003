"""A SimCLR module that trains in a moment, the batches that it trains on, and what it learned of them."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.encoders.base import Encoder
from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from pretrain.simclr import SimCLR


class MeanBins(Encoder):
    """Mean spectrum through one linear layer: no batch norm, so that a batch in two halves equals one."""

    def __init__(self, num_bins: int = 16) -> None:
        super().__init__()
        self.num_features = 8
        self.layer = nn.Linear(num_bins, 8)

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return self.layer(spectrogram.mean(dim=(1, 3))).unsqueeze(-1)


def simclr(**arguments: Any) -> SimCLR:
    defaults: dict[str, Any] = {"front_end": LogMel(num_mels=16), "encoder": Cnn2d(channels=[4, 8]), "clip_s": 0.5}
    return SimCLR(**{**defaults, **arguments})


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Two batches of 8 clips, of which each process sees its part."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        crops = torch.randn(2, 8, 1000, generator=torch.Generator().manual_seed(number))
        batch = {
            "crops": crops,
            "recording": torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0], [0, 7, 2, 8, 1, 5, 9, 0]]),
            "patient": torch.tensor([[0, 1, 2, 3, 1, 5, 2, 0]]),
            "label": torch.tensor([[0, 1, -1, 0, 0, 1, -1, 1]]),
        }
        if torch.distributed.is_initialized():
            rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            # The joined batch is that of rank 0, then that of rank 1: give each a half in that order.
            part = slice(rank * 8 // size, (rank + 1) * 8 // size)
            return {name: value[:, part] for name, value in batch.items()}
        return batch


class Gradients(pl.Callback):
    """Keeps what the optimiser is given at every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.steps.append({name: value.grad.clone() for name, value in pl_module.named_parameters() if value.grad is not None})


def learned(model: SimCLR, **trainer: Any) -> tuple[list[dict[str, Tensor]], dict[str, Tensor], dict[str, float]]:
    """Gradients of each step, final weights and figures of two epochs."""
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "use_distributed_sampler": False,
        "devices": 1,
        **trainer,
    }
    gradients = Gradients()
    fitted = pl.Trainer(accelerator="cpu", max_epochs=2, enable_model_summary=False, callbacks=[gradients], **options)
    fitted.fit(model, DataLoader(Rows(), batch_size=None))
    figures = {name: float(value) for name, value in fitted.callback_metrics.items()}
    return gradients.steps, {name: value.clone() for name, value in model.state_dict().items()}, figures


def no_batch_norm(**arguments: Any) -> SimCLR:
    torch.manual_seed(0)
    model = simclr(**{"encoder": MeanBins(), "optimizer": "sgd", "lr": 0.5, "warmup_epochs": 0.0, **arguments})
    model.projection_head = nn.Linear(8, 4)  # type: ignore[assignment]
    return model


def equal(found: dict[str, Tensor], wanted: dict[str, Tensor], atol: float) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=0, atol=atol), name

"""Where the time of one pretraining step goes."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.throughput.clock import median_seconds
from pretrain.loss import nt_xent


def seconds_of_parts(module: Any, batch: dict[str, Tensor]) -> dict[str, float]:
    """Seconds of each part of a step, timed alone: what a whole step overlaps on a GPU it cannot show."""
    data, device = module.trainer.datamodule, module.device
    context = module.trainer.precision_plugin.forward_context
    rows = torch.arange(batch["crops"].shape[1], device=device)
    draws = torch.rand(len(rows), device=device)
    waveform = batch["crops"].expand(2, -1, -1).flatten(0, 1)
    with torch.no_grad(), context():
        augmented = module.waveform_augmentation(waveform)
        spectrogram = module.front_end(augmented)
        z = module.projection_head(module.encoder(spectrogram)).detach()

    def forward() -> Tensor:
        with context():
            return module.projection_head(module.encoder(spectrogram)).float().square().mean()

    def forward_and_backward() -> None:
        forward().backward()
        module.zero_grad(set_to_none=True)

    def loss() -> None:
        z1, z2 = z.clone().requires_grad_().chunk(2)
        nt_xent(z1, z2, temperature=0.1).backward()

    with context():
        parts = {
            "read_crops": lambda: [data.random_crops(rows, draws) for _ in range(module.crops_per_clip)],
            "waveform_augmentation": lambda: module.waveform_augmentation(waveform),
            "front_end": lambda: module.front_end(augmented),
            "spectrogram_augmentation": lambda: module.spectrogram_augmentation(spectrogram),
        }
        with torch.no_grad():
            taken = {name: median_seconds(work, device) for name, work in parts.items()}
    taken["encoder_and_head_forward"] = median_seconds(forward, device)
    taken["encoder_and_head_backward"] = median_seconds(forward_and_backward, device) - taken["encoder_and_head_forward"]
    taken["loss"] = median_seconds(loss, device)
    return taken

"""Makes the random numbers of a training step a function of seed, epoch and batch, so that a resumed run repeats them exactly."""

from typing import Any

import pytorch_lightning as pl
import torch

from common.training.batches import global_seed

# Stands in for the epoch in the seeds of validation batches; no training epoch has this number.
VALIDATION = -1


class StepSeed(pl.Callback):
    """Seeds torch before every batch: augmentation and dropout then do not depend on what ran before.

    Validation batches are seeded alike in every epoch, so that a validation loss over augmented views compares between epochs.

    Cheaper and surer than saving generator states: it holds after a kill, for another number of validation batches and on every
    device.
    """

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        key = (global_seed(), trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(mix(*key))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        torch.manual_seed(mix(global_seed(), VALIDATION, batch_idx, dataloader_idx))


def mix(*numbers: int) -> int:
    """A seed below 2**63 that differs in effect for any two lists of numbers (a 64-bit linear congruential hash)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = ((state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 6364136223846793005 + 1442695040888963407) % 2**64
        state ^= state >> 29
    return state >> 1

"""Checkpoints within an epoch, by the clock and when the job is told to end (SIGTERM), so that a long epoch is not lost."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException


class MidEpochCheckpoint(Checkpoint):
    """Writes a checkpoint from which a run goes on at the next batch.

    Only where nothing is half done: not while gradients are accumulated, which no checkpoint holds, and not before a validation,
    which a resumed run would leave out. Checkpoints of whole epochs are not its matter.

    Args:
        path: file to write.
        minutes: of training between two checkpoints; 0 for none by the clock.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.interval_s = 60 * minutes
        self._saved_s = 0.0
        self._loader: dict[str, Any] | None = None

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader")
        self._loader = states[0] if states else None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_s = time.monotonic()
        # Lightning hands a loader its state only if nobody asked for the length of the run before, which the schedule does.
        if self._loader is not None:
            loader: Any = trainer.train_dataloader
            loader.load_state_dict(self._loader)

    # Any: the trainer's own attributes are set by its parts, where a type checker does not see them.
    def on_train_batch_end(self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.interval_s or trainer.fast_dev_run or not _between_steps(trainer, batch_idx):
            return
        # Clocks differ between processes, and to ask the first at every step would make them all wait.
        if trainer.world_size > 1 and (batch_idx + 1) % trainer.log_every_n_steps:
            return
        if trainer.strategy.broadcast(time.monotonic() - self._saved_s >= self.interval_s):
            trainer.save_checkpoint(self.path)
            self._saved_s = time.monotonic()

    def on_exception(self, trainer: Any, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # Lightning raises it between two batches.
        if isinstance(exception, SIGTERMException) and not trainer.fast_dev_run and _between_steps(trainer, trainer.fit_loop.batch_idx):
            trainer.save_checkpoint(self.path)


def _between_steps(trainer: Any, batch_idx: int) -> bool:
    """Whether, after the batch ``batch_idx`` (from 0) of the epoch, weights and progress say all: more batches follow at once."""
    done = batch_idx + 1
    validates = trainer.val_check_batch and done % trainer.val_check_batch == 0
    return not trainer.is_last_batch and not validates and done % trainer.accumulate_grad_batches == 0

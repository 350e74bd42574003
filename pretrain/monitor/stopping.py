"""A run whose loss is no number or whose embeddings have collapsed stops, and keeps the batch at which that showed."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from common.errors import UserError
from common.files import atomic_path
from common.progress import say
from common.training.metrics_csv import folder_of
from common.training.run_folder import BAD_BATCH

FORMAT = "auscult.bad_batch/1"
# Batch norm's running averages have settled by then (0.9^100); before, every run looks collapsed on validation clips.
SETTLED_STEPS = 100
# Batches that may be under way on an accelerator before the host waits for the oldest.
MOST_PENDING = 4


@dataclass(frozen=True)
class Seen:
    """A batch and what became of it.

    Attributes:
        part: "training" or "validation".
        epoch: from 0.
        step: optimiser steps done before it.
        number: of the batch within the epoch, from 0.
        batch: what the step was given.
        projections: what the projection head returned, in the order of its calls.
        loss: scalar, on the device.
    """

    part: str
    epoch: int
    step: int
    number: int
    batch: dict[str, Tensor]
    projections: list[Tensor]
    loss: Tensor


@dataclass
class Pending:
    """Losses that are on their way to the host: on a GPU nobody waits for them, and the answer comes a few steps later."""

    queue: "deque[tuple[Seen, Tensor, Any]]" = field(default_factory=deque)

    def add(self, seen: Seen) -> None:
        finite, event = torch.isfinite(seen.loss), None
        if finite.is_cuda:
            finite, event = finite.to("cpu", non_blocking=True), torch.cuda.Event()
            event.record()
        self.queue.append((seen, finite, event))

    def first_not_finite(self, wait: bool) -> Seen | None:
        """The first batch of those that have arrived (with ``wait``: of all) whose loss is not finite."""
        while self.queue:
            seen, finite, event = self.queue[0]
            if event is not None and not event.query():
                if not wait and len(self.queue) <= MOST_PENDING:
                    return None
                event.synchronize()
            self.queue.popleft()
            if not finite:
                return seen
        return None


class StopWhenBroken(pl.Callback):
    """Stops a run at the first batch whose loss is not finite, and after some epochs of collapse; saves the batch.

    No checkpoint is written after such a batch: what is looked at before saving, and what raises here, comes before it.

    Args:
        epochs: epochs of collapse, one after the other, after which the run stops; 0 never.
        std: val/embedding_std below which the embeddings count as collapsed.
        rank: val/effective_rank below which they do.
        warmup_epochs: epochs that do not count.
    """

    def __init__(self, epochs: int, std: float, rank: float, warmup_epochs: float) -> None:
        self.epochs, self.std, self.rank, self.warmup_epochs = epochs, std, rank, warmup_epochs
        self.collapsed = 0
        self._pending = Pending()
        self._projections: list[Tensor] = []
        self._last: Seen | None = None
        self._hook: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"collapsed": self.collapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed = state_dict["collapsed"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        def keep(module: Any, inputs: Any, output: Tensor) -> None:
            self._projections.append(output.detach())

        self._hook = pl_module.projection_head.register_forward_hook(keep)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._hook is not None:
            self._hook.remove()

    def on_train_batch_start(self, *_: Any) -> None:
        self._projections = []

    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        self._projections = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # One less: the optimiser has done the step of this batch.
        self._watch(trainer, pl_module, Seen("training", *_now(trainer, -1), batch_idx, batch, self._projections, outputs["loss"]))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._watch(trainer, pl_module, Seen("validation", *_now(trainer), batch_idx, batch, self._projections, outputs))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._settle(trainer, pl_module, wait=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._settle(trainer, pl_module, wait=True)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._settle(trainer, pl_module, wait=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._settle(trainer, pl_module, wait=True)
        figures = [trainer.callback_metrics.get(name) for name in ("val/embedding_std", "val/effective_rank")]
        settled = trainer.global_step >= SETTLED_STEPS and trainer.current_epoch >= self.warmup_epochs
        if not self.epochs or None in figures or not settled:
            return
        std, rank = (float(figure) for figure in figures if figure is not None)
        self.collapsed = self.collapsed + 1 if std < self.std or rank < self.rank else 0
        if self.collapsed >= self.epochs:
            sentence = (
                f"The embeddings have collapsed and stayed so for {self.collapsed} epochs, to epoch {trainer.current_epoch}: "
                f"val/embedding_std is {std:.3g} (limit {self.std:g}) and val/effective_rank {rank:.3g} (limit {self.rank:g}). "
                "Take a lower model.lr, a larger data.batch_size or milder augmentations, and another --out; "
                "model.collapse_epochs 0 goes on regardless."
            )
            self._stop(trainer, sentence, self._last)

    def _watch(self, trainer: pl.Trainer, pl_module: Any, seen: Seen) -> None:
        self._last = seen if seen.part == "training" else self._last
        self._pending.add(seen)
        self._settle(trainer, pl_module, wait=False)

    def _settle(self, trainer: pl.Trainer, pl_module: Any, wait: bool) -> None:
        seen = self._pending.first_not_finite(wait)
        if seen is not None:
            sentence = (
                f"The {'validation ' if seen.part == 'validation' else ''}loss became {seen.loss.item()} in epoch {seen.epoch}, "
                f"step {seen.step}: lower model.lr ({pl_module.lr}) or lengthen model.warmup_epochs, and check the recordings with "
                "'python -m common audit'."
            )
            self._stop(trainer, sentence, seen)

    def _stop(self, trainer: pl.Trainer, sentence: str, seen: Seen | None) -> None:
        folder = folder_of(trainer)
        if folder is not None and seen is not None and trainer.is_global_zero:
            save_batch(folder / BAD_BATCH, seen, sentence, getattr(trainer, "datamodule", None))
            say(f"The batch is in {folder / BAD_BATCH}.")
        raise UserError(sentence)


def save_batch(path: Path, seen: Seen, reason: str, data: Any) -> None:
    """Write what is known of a batch to ``path``, so that it opens with ``weights_only=True``; docs/files.md lists its keys."""
    contents: dict[str, Any] = {
        "format": FORMAT,
        "reason": reason,
        "part": seen.part,
        "epoch": seen.epoch,
        "step": seen.step,
        "batch": seen.number,
        "loss": float(seen.loss),
        "crops": seen.batch["crops"].cpu(),
        "projections": torch.cat([part.float().cpu() for part in seen.projections]) if seen.projections else torch.empty(0),
    }
    rows = seen.batch.get("row")
    if rows is not None and data is not None:
        clip_ids = data.table["clip_id"]
        contents |= {"rows": rows.cpu(), "clip_ids": [clip_ids.iloc[view].tolist() for view in rows.cpu().numpy()]}
    with atomic_path(path) as temporary:
        torch.save(contents, temporary)


def _now(trainer: pl.Trainer, steps: int = 0) -> tuple[int, int]:
    return trainer.current_epoch, trainer.global_step + steps

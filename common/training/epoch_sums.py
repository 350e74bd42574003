"""The means over an epoch are right also when the run was cut off within it."""

from typing import Any

import pytorch_lightning as pl

KEY = "epoch_sums"


class EpochSums(pl.Callback):
    """Keeps the running sums behind metrics logged ``on_epoch`` in checkpoints written within an epoch: Lightning's hold none.

    Of several processes the sums of the first are kept, as its figures are the ones that are logged.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, Any] = {}

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if not trainer.is_last_batch:
            sums = {name: (each.value, each.cumulated_batch_size) for name, each in _means(trainer).items()}
            checkpoint[KEY] = {name: [part.detach().cpu().clone() for part in parts] for name, parts in sums.items()}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._earlier = checkpoint.get(KEY, {})

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if not self._earlier:
            return
        # After the first batch, since a metric comes into being when it is first logged. a + b = b + a: nothing is lost by the order.
        for name, each in _means(trainer).items():
            if name in self._earlier:
                total, count = self._earlier[name]
                each.value = total.to(each.value.device) + each.value
                each.cumulated_batch_size = count.to(each.cumulated_batch_size.device) + each.cumulated_batch_size
        self._earlier = {}


def _means(trainer: pl.Trainer) -> dict[str, Any]:
    """What Lightning accumulates of each mean over the epoch; its own name for it, since it offers no other way in."""
    results = trainer.fit_loop.epoch_loop._results
    return {name: each for name, each in results.items() if each.meta.on_epoch and each.is_tensor and each.meta.is_mean_reduction}

"""A callback that judges the held-out clips after every epoch, for the figure that papers report which choose the epoch on the test set.

It changes nothing: the epoch is chosen on the validation clips as ever.
"""

from typing import Any

import pandas as pd
import pytorch_lightning as pl

from common.files import read_csv, write_csv
from common.progress import say
from common.training.metrics_csv import MetricsCsv
from finetune.evaluation.epochs.best_epoch import HELD_OUT_EPOCHS, epoch_figures
from finetune.evaluation.epochs.epoch_probabilities import HELD_OUT_PROBABILITIES, write_epoch
from finetune.evaluation.out_of_fold import check_out_of_fold
from finetune.fit import predict_clips
from finetune.folds.table import HELD_OUT


class HeldOutEpochs(pl.Callback):
    """Write ``held_out_epochs.csv`` into the fold's folder: epoch, and every figure on the held-out clips then; and their probabilities.

    The clips are predicted with the weights that are validated (an average of them, where there is one), once per validation.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        say(
            "WARNING: the held-out clips are looked at after every epoch. The best of these figures is too good for new patients; it "
            "chooses nothing here, and what you change because of it is chosen on held-out patients."
        )

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # Within the validation, since averaged weights are put back when it ends.
        last = batch_idx + 1 == trainer.num_val_batches[dataloader_idx]
        logger = next((each for each in trainer.loggers if isinstance(each, MetricsCsv)), None)
        if not last or trainer.sanity_checking or not trainer.is_global_zero or logger is None:
            return
        task = pl_module.task
        table = predict_clips(pl_module, trainer.datamodule, HELD_OUT)
        predictions = check_out_of_fold(table, task.labels, "The held-out clips", task.poor_quality_counts)
        rows = pd.DataFrame([{"epoch": trainer.current_epoch, **epoch_figures(predictions, task)}]).astype({"epoch": int})
        path = logger.path.with_name(HELD_OUT_EPOCHS)
        if path.is_file():
            # A run that goes on within an epoch does that epoch again.
            earlier = read_csv(path)
            rows = pd.concat([earlier[earlier["epoch"] < trainer.current_epoch], rows], ignore_index=True)
        write_csv(path, rows)
        write_epoch(logger.path.with_name(HELD_OUT_PROBABILITIES), trainer.current_epoch, table, task.labels)

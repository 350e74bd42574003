"""A run that was stopped early and killed before it wrote its results does not train on when it is started again."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


class StayStopped(pl.Callback):
    """Stops a resumed run at once when its EarlyStopping had already stopped it: Lightning's checkpoints do not keep that decision."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        callbacks = trainer.early_stopping_callbacks
        trainer.should_stop = any(isinstance(each, EarlyStopping) and _has_stopped(each) for each in callbacks)


def _has_stopped(callback: EarlyStopping) -> bool:
    return callback.stopped_epoch > 0 or callback.wait_count >= callback.patience

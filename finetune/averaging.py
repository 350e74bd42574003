"""Averages of the weights over training, which are validated, chosen, saved and exported in place of the last step's.

Callbacks on Lightning's `WeightAveraging`: a checkpoint's ``state_dict`` is the average, and what training goes on from is beside it.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from common.errors import UserError


class Ema(WeightAveraging):
    """Exponential moving average of all weights and batch-norm statistics after each optimiser step: a <- d a + (1 - d) w.

    It begins at the first step's weights. With few steps, 1 / (1 - d) should stay well below their number.

    Args:
        decay: d, at least 0 and below 1.

    Reference:
        Polyak and Juditsky, 1992; Tarvainen and Valpola, "Mean teachers are better role models", 2017.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"Ema: decay is {decay:g}, expected at least 0 and below 1.")
        self.decay = decay
        super().__init__(avg_fn=self._towards)

    def _towards(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # As a step towards the weights, not as a sum of two parts: what never changes (filters, counters) then stays exact.
        return average + (current - average) * (1 - self.decay)


class Swa(WeightAveraging):
    """Mean of the weights and batch-norm statistics at the ends of the last epochs; before them, the weights as they are.

    The learning rate follows its own schedule. The paper's is high and constant where it averages; the one here falls to 0 at the end
    of the run, which makes the averaged weights lie nearer to each other.

    Args:
        first_epoch: the first epoch (from 0) whose end counts, at least 0.

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, section 3.2. Their batch-norm
        statistics are computed anew for the average; here they are averaged as the weights are.
    """

    def __init__(self, first_epoch: int) -> None:
        if first_epoch < 0:
            raise UserError(f"Swa: first_epoch is {first_epoch}, expected at least 0.")
        self.first_epoch = first_epoch
        super().__init__(avg_fn=_mean)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return False

    def on_train_batch_end(self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Lightning tells of the end of an epoch after its validation, which shall see the average with this epoch in it.
        if not trainer.is_last_batch:
            return
        assert self._average_model is not None
        if trainer.current_epoch <= self.first_epoch:
            # An average of none is overwritten with the first weights that it gets.
            self._average_model.n_averaged.zero_()
        self._average_model.update_parameters(pl_module)


def _mean(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    return average + (current - average) / (count + 1)

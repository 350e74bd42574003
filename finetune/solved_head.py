"""A callback that starts training from a head that logistic regression has solved on the encoder's embeddings as they are."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import nn

from common.errors import UserError
from common.frontends.base import exact_float32
from common.progress import track
from common.windows import pool_windows
from finetune.baseline.classifiers import Logistic
from finetune.baseline.model import BaselineModel
from finetune.folds.table import TRAIN
from finetune.head import Head


class SolvedHead(pl.Callback):
    """Solve the head of the model on the training clips before the first step.

    A clip is the mean of its windows' embeddings; no augmentation, dropout or mixture takes part. With ``model.mode: linear_probe`` and a
    learning rate of next to nothing the solution is what is judged and exported. With ``full``, training goes on from it: linear probing,
    then fine-tuning, which keeps what the encoder knows where a random head's first gradients would distort it. Batch norms then keep the
    statistics that the head was solved behind.

    Args:
        c: inverse of the strength of the L2 penalty on standardised embeddings, above 0; of more features than clips take less than 0.1.
        class_weights: "balanced" makes both classes of a label pull equally, "none" every clip.

    Reference:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", 2022, section 3.4.
    """

    def __init__(self, c: float = 0.003, class_weights: Literal["balanced", "none"] = "balanced") -> None:
        self.logistic = Logistic(c, class_weights)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A run that goes on has its weights from last.ckpt.
        if trainer.ckpt_path is None:
            solve(pl_module, trainer.datamodule, self.logistic)  # type: ignore[attr-defined]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for part in pl_module.encoder.modules():  # type: ignore[union-attr, operator]
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


def solve(classifier: Any, data: Any, logistic: Logistic) -> None:
    """Replace the weights of ``classifier.head`` by the solution on the training clips of ``data``.

    Raises:
        UserError: the head has hidden layers or takes metadata, which a logistic regression of the embeddings does not solve.
    """
    if not isinstance(classifier.head, Head) or len(classifier.head.hidden) or classifier.metadata is not None:
        raise UserError(
            "SolvedHead solves one linear layer on the encoder's embeddings: leave out model.frame_head, model.head_units and "
            "model.metadata, or it."
        )
    rows, device = data.rows[TRAIN], classifier.device
    embeddings, training = [], classifier.training
    classifier.eval()
    with torch.inference_mode(), exact_float32(device.type):
        for some in track(rows.split(data.batch_size), "Embedding the training clips"):
            batch = data.whole_clips(some, device)
            windows = classifier.encoder(classifier.front_end(batch["waveform"]))
            embeddings.append(pool_windows(windows.float(), batch["clip"], len(some), "mean").cpu())
    classifier.train(training)
    model = BaselineModel(classifier.task, logistic)
    model.fit(torch.cat(embeddings).numpy(), data.targets[rows].numpy())
    weight, bias = (torch.from_numpy(part) for part in model.linear(classifier.head.in_features))
    with torch.no_grad():
        classifier.head.last.weight.copy_(weight)
        classifier.head.last.bias.copy_(bias)

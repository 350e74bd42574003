"""What an encoder makes of the training clips before the first step, by which a head is set up."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from finetune.folds.table import TRAIN


@torch.no_grad()
def training_maps(classifier: Any, data: Any) -> Iterator[Tensor]:
    """The feature maps of the training clips' windows, [W, D, N] per batch, not augmented, by the encoder in evaluation mode.

    Args:
        classifier: a `finetune.classifier.Classifier`.
        data: a `finetune.data.FinetuneData`.
    """
    training = classifier.encoder.training
    classifier.encoder.eval()
    for rows in data.rows[TRAIN].split(data.batch_size):
        yield classifier.encoder.feature_map(classifier.front_end(data.whole_clips(rows, classifier.device)["waveform"]))
    classifier.encoder.train(training)

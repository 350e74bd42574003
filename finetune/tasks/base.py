"""The Task interface: which labels, and the loss, activation, decoding rule and metrics that belong to them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor, nn

from common.described import Described


class Task(Described, nn.Module):
    """A named label set of L outputs with everything that depends on what the labels mean.

    Attributes:
        labels: names of the L outputs, in the order of every [B, L] tensor and of the exported file.
        scored: the labels that macro figures average over (for example without "normal", the complement of the others).
    """

    labels: tuple[str, ...]
    scored: tuple[str, ...]

    def targets(self, manifest: pd.DataFrame) -> np.ndarray:
        """Targets of every clip of ``manifest``: float32 [n, L] of 1, 0 or NaN (not annotated, or of poor quality)."""
        raise NotImplementedError

    def fit_targets(self, targets: np.ndarray) -> None:
        """Take from the training clips' ``targets`` [n, L] what the loss needs, for example class weights."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of ``logits`` [B, L] against ``targets`` [B, L] over the annotated ones: a scalar, 0 where none is."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map ``logits`` [..., L] to probabilities [..., L]. Written in TorchScript's subset: the export contains it."""
        raise NotImplementedError

    def decode(self, probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
        """Decide: ``probabilities`` [n, L] and one threshold per label to int8 [n, L] that obeys the task's label rule."""
        raise NotImplementedError

"""The Task interface: which labels, and the loss, activation, decoding rule and metrics that belong to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from common.described import Described
from common.manifest import data_hash, read_manifest

ClassScore = Literal["icbhi", "sprsound", "recall"]
"""Families of figures over decided classes, see `finetune.evaluation.metrics.class_scores`."""


class Task(Described, nn.Module):
    """A named label set of L outputs with everything that depends on what the labels mean.

    Attributes:
        labels: names of the L outputs, in the order of every [B, L] tensor and of the exported file.
        scored: the labels that macro figures average over (for example without "normal", the complement of the others).
        one_of: exactly one label is true of a clip, and probabilities sum to 1; else each label is decided by itself.
        normal: the label that says that none of the others is there; None where there is no such label.
        class_scores: families of figures over decided classes that mean something for this task.
        label_columns: manifest columns that it reads as 1, 0 or empty.
        class_columns: manifest columns that it reads as words.
        poor_quality_counts: clips that the annotators called unusable have targets too.
        undecided: threshold of a label of which nothing is known.
        decision: the decoding rule in one sentence, for who reads an exported file.
    """

    labels: tuple[str, ...]
    scored: tuple[str, ...]
    one_of: bool = False
    normal: str | None = None
    class_scores: tuple[ClassScore, ...] = ("icbhi",)
    poor_quality_counts: bool = False
    decision: str

    @property
    def label_columns(self) -> tuple[str, ...]:
        return self.labels

    @property
    def class_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def undecided(self) -> float:
        return 0.5

    def read(self, path: str | Path) -> pd.DataFrame:
        """The manifest at ``path``, with the columns that the task reads checked, see `read_manifest`."""
        return read_manifest(path, self.label_columns, classes=self.class_columns)

    def data_hash(self, manifest: pd.DataFrame, more: Sequence[str] = ()) -> str:
        """SHA-256 over the clips of ``manifest``, what the task reads of them, and the columns ``more``."""
        return data_hash(manifest, [*self.label_columns, *self.class_columns, "quality", *more])

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

    def as_label_columns(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """``manifest`` with one column of 1, 0 or NaN per label, for code that knows label columns only.

        Clips of poor quality that do not count are not annotated there, and none is marked.
        """
        targets = self.targets(manifest)
        return manifest.assign(quality="", **{label: targets[:, column] for column, label in enumerate(self.labels)})


def check_decodable(labels: Sequence[str], probabilities: np.ndarray, thresholds: Sequence[float]) -> None:
    """Refuse what has no decision.

    Raises:
        ValueError: another number of labels or thresholds, or a probability that is not finite.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(labels) or len(thresholds) != len(labels):
        raise ValueError(f"expected {len(labels)} labels and thresholds, found {probabilities.shape} and {len(thresholds)}")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite: it cannot be decided")

"""Predict a manifest with the models of all folds of a run, and average them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from common.errors import UserError
from common.training.checkpoint import open_module
from finetune.classifier import Classifier
from finetune.data import FinetuneData
from finetune.evaluation.calibration.calibrators import Calibrator
from finetune.fit import predict_clips
from finetune.folds.table import HELD_OUT
from finetune.run_folder import RunFolder


def open_folds(folder: RunFolder) -> dict[int, Classifier]:
    """Fold -> its best model, in evaluation mode.

    Raises:
        UserError: the run has no networks, or a fold has no checkpoint.
    """
    folder.require_networks()
    files = {fold: folder.checkpoint(fold) for fold in folder.role_columns()}
    missing = [file for file in files.values() if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is not there: expected the network of every fold; finish the run by 'python -m finetune crossval'.")
    return {fold: open_module(file, Classifier).eval() for fold, file in files.items()}


def require_metadata(classifiers: Mapping[int, Classifier], table: pd.DataFrame, run: str, manifest: str) -> list[str]:
    """Names of the columns that the networks take beside the audio.

    Raises:
        UserError: ``table``, read from ``manifest``, lacks one.
    """
    columns = sorted({column for model in classifiers.values() if model.metadata is not None for column in model.metadata.columns})
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        raise UserError(
            f"The networks of {run} take the metadata {', '.join(columns)}, and {manifest} has no column {lacking[0]!r}: add it, empty "
            "where it is unknown."
        )
    return columns


def predict_folds(classifiers: Mapping[int, Classifier], manifest: str, store: str | None, batch_size: int) -> dict[int, pd.DataFrame]:
    """Fold -> what its network says of every clip, in float32 as the exported file.

    Args:
        classifiers: see `open_folds`.
        manifest: to predict.
        store: folder of the waveform store.
        batch_size: clips per batch.

    Returns:
        Tables as of `finetune.fit.predict_clips`, in the manifest's order, with ``fold`` 0.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = {fold: AllClips(manifest, model, store, batch_size) for fold, model in classifiers.items()}
    return {fold: predict_clips(model.to(device), data[fold], HELD_OUT) for fold, model in classifiers.items()}


def mean_of(predicted: Mapping[int, pd.DataFrame], calibrators: Mapping[int, Calibrator]) -> pd.DataFrame:
    """Mean over the folds of `predict_folds`, each calibrated before by its own of ``calibrators``, as in the exported file, or by none."""
    first = next(iter(predicted.values()))
    columns = [name for name in map(str, first) if name.startswith("prob_")]
    of_folds = []
    for fold, table in predicted.items():
        probabilities = table[columns].to_numpy()
        of_folds.append(calibrators[fold].numpy(probabilities) if fold in calibrators else probabilities)
    return first.assign(**dict(zip(columns, np.mean(of_folds, axis=0).T, strict=True)))


class AllClips(FinetuneData):
    """Every clip of a manifest as if one fold held all of them out, for a model that is trained already.

    Args:
        manifest: CSV or Parquet file.
        classifier: that says what the windows are.
        store: see `FinetuneData`.
        batch_size: clips per batch.
    """

    def __init__(self, manifest: str, classifier: Classifier, store: str | None, batch_size: int) -> None:
        super().__init__(manifest, folds="", store=store, batch_size=batch_size)
        self._classifier = classifier
        table = classifier.task.read(manifest)
        self.open_store(table)
        self.rows = {HELD_OUT: torch.arange(len(table))}
        self.targets = torch.from_numpy(classifier.task.targets(table))
        self.lengths = self.clips.length.cpu()
        if classifier.metadata is not None:
            self.metadata = classifier.metadata.raw(table, str(manifest))

    @property
    def model(self) -> Classifier:
        return self._classifier

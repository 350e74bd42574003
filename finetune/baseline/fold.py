"""One fold of a baseline: fit on its training clips, predict what it holds out and what validates."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import write_csv, write_json
from common.progress import say
from common.training.run_folder import FINISHED, finished
from finetune.baseline.frames import Frames
from finetune.evaluation.metrics.label_metrics import auroc
from finetune.fit import predictions_table
from finetune.folds.table import HELD_OUT, VALIDATION
from finetune.run_folder import FOLD, PREDICTIONS, VALIDATED
from finetune.tasks.base import Task


class FoldModel(Protocol):
    """`finetune.baseline.model.BaselineModel`, or `finetune.baseline.frame_model.FrameModel`; each says what features it takes."""

    task: Task
    constant: list[str]

    def fit(self, features: Any, targets: np.ndarray) -> None: ...

    def probabilities(self, features: Any) -> np.ndarray: ...

    def held_out_figures(self, features: Any) -> dict[str, Any]:
        """What fold.json says of the clips that the fold holds out, beside what their predictions tell."""
        ...


def fit_fold(
    model: FoldModel,
    features: np.ndarray | Frames,
    table: pd.DataFrame,
    role: pd.Series,
    learns: np.ndarray,
    fold: int,
    folder: Path,
    keep: Callable[[], None] | None = None,
) -> None:
    """Fit and predict one fold, and write what a fold of ``finetune crossval`` leaves for the report; keeps a finished one.

    Args:
        model: not fitted yet.
        features: of every clip, [n, D], or its frames: what the model takes.
        table: manifest of n clips.
        role: of every clip in the fold, see `finetune.folds.table.read_folds`.
        learns: clips to fit to where they are annotated, bool [n]; if those that validate are among them there is no ``validation.csv``.
        fold: its number.
        folder: of the fold.
        keep: writes the fitted model into the folder; None where it is not kept.

    Raises:
        UserError: no training clip is annotated.
    """
    if finished(folder) is not None:
        return
    began = time.monotonic()
    targets = model.task.targets(table)
    annotated = ~np.isnan(targets).all(axis=1)
    training = learns & annotated
    if not training.any():
        raise UserError(f"Fold {fold} has no training clip with an annotated label: annotate more or take fewer folds.")
    model.fit(features[training], targets[training])
    if model.constant:
        say(
            f"WARNING: the training clips of fold {fold} are all of one class in {', '.join(model.constant)}: "
            "every held-out clip gets the same probability of it."
        )

    def predict(rows: np.ndarray) -> pd.DataFrame:
        return predictions_table(table[rows], fold, model.task.labels, targets[rows], model.probabilities(features[rows]))

    if keep is not None:
        keep()
    held_out, validating = (role == HELD_OUT).to_numpy(), (role == VALIDATION).to_numpy() & annotated & ~training
    write_csv(folder / PREDICTIONS, predict(held_out))
    macro = None
    if validating.any():
        validated = predict(validating)
        write_csv(folder / VALIDATED, validated)
        macro = _macro_auroc(validated, model.task.scored)
    results = {
        "fold": fold,
        "best_epoch": None,
        "val_score": macro,
        "val_macro_auroc": macro,
        "seconds": round(time.monotonic() - began, 1),
        "train_clips": int(training.sum()),
        "validation_clips": int(validating.sum()),
        "held_out_clips": int(held_out.sum()),
        "num_features": features.shape[1],
        **model.held_out_figures(features[held_out]),
    }
    write_json(folder / FOLD, results)
    write_json(folder / FINISHED, results)


def _macro_auroc(predictions: pd.DataFrame, labels: tuple[str, ...]) -> float | None:
    """Mean AUROC over ``labels``; None where one of them has a single class."""
    areas = []
    for label in labels:
        known = predictions[f"target_{label}"].notna().to_numpy()
        truth = predictions[f"target_{label}"][known].to_numpy(np.int64) == 1
        areas.append(auroc(truth, predictions[f"prob_{label}"].to_numpy()[known]))
    found = [area for area in areas if area is not None]
    return sum(found) / len(found) if found and len(found) == len(areas) else None

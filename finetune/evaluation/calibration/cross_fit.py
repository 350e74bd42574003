"""Which clips calibrate which: a calibrator never sees the clips whose calibrated probabilities are reported."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from common.errors import UserError
from finetune.evaluation.calibration.calibrators import Calibrator, Fitted, Method, fit_calibrator
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.calibration.softmax_temperature import fit_softmax_temperature
from finetune.evaluation.out_of_fold import OutOfFold


@dataclass(frozen=True)
class Calibration:
    """The calibrators of a run.

    Attributes:
        choice: how they were fitted.
        held_out: fold -> what calibrates its held-out clips, fitted without them; empty for "none".
        exported: fold -> what calibrates its network in an exported file; empty for "none".
        notes: sentences on labels that could not be calibrated.
    """

    choice: Choice
    held_out: dict[int, Calibrator]
    exported: dict[int, Calibrator]
    notes: tuple[str, ...] = ()

    def apply(self, predictions: OutOfFold) -> OutOfFold:
        """``predictions`` with calibrated probabilities, in its table too."""
        if self.choice == "none":
            return predictions
        probabilities = predictions.probabilities.copy()
        for fold, calibrator in self.held_out.items():
            rows = predictions.fold == fold
            probabilities[rows] = calibrator.numpy(probabilities[rows])
        columns = {f"prob_{label}": probabilities[:, column] for column, label in enumerate(predictions.labels)}
        return replace(predictions, table=predictions.table.assign(**columns), probabilities=probabilities)


def calibrate(predictions: OutOfFold, choice: Choice, validation: dict[int, OutOfFold] | None = None, one_of: bool = False) -> Calibration:
    """Fit the calibrators of ``choice``.

    Args:
        predictions: out of fold.
        choice: see `Choice`.
        validation: fold -> predictions of its validation clips by its own model; "fold_platt" needs all folds'.
        one_of: classes exclude each other, so that their probabilities sum to 1; "temperature" then is one for all of them.

    Raises:
        UserError: there is one fold only, a fold's validation predictions are missing, or the choice maps each label by itself where
            classes exclude each other.
    """
    if choice == "none":
        return Calibration("none", {}, {})
    if choice not in choices_of(one_of):
        raise UserError(
            f"Calibration {choice!r} maps each label by itself, after which the probabilities of {', '.join(predictions.labels)}, of which "
            "a clip has exactly one, would not sum to 1: choose 'temperature' or 'none'."
        )
    if choice == "fold_platt":
        return _by_fold(predictions, validation or {})
    if len(predictions.folds) < 2:
        raise UserError("There is one fold only: calibration is fitted on the other folds' predictions; use '--calibration none'.")
    method: Method = choice

    def fit(rows: np.ndarray) -> Fitted:
        targets, probabilities = predictions.targets[rows], predictions.probabilities[rows]
        return fit_softmax_temperature(targets, probabilities) if one_of else fit_calibrator(targets, probabilities, method)

    everything = fit(np.full(len(predictions.fold), True))
    fitted = {fold: fit(predictions.fold != fold) for fold in predictions.folds}
    return Calibration(
        choice,
        {fold: of_fold.calibrator for fold, of_fold in fitted.items()},
        dict.fromkeys(predictions.folds, everything.calibrator),
        _notes(fitted, predictions.labels, "the other folds have"),
    )


def choices_of(one_of: bool) -> tuple[Choice, ...]:
    """The ways to calibrate that a task has."""
    return ("none", "temperature") if one_of else get_args(Choice)


def _by_fold(predictions: OutOfFold, validation: dict[int, OutOfFold]) -> Calibration:
    missing = [fold for fold in predictions.folds if fold not in validation]
    if missing:
        raise UserError(
            f"Fold {missing[0]} has no validation.csv, which '--calibration fold_platt' is fitted on: "
            "train the run again with this version, or choose 'platt'."
        )
    fitted = {fold: fit_calibrator(validation[fold].targets, validation[fold].probabilities, "platt") for fold in predictions.folds}
    calibrators = {fold: of_fold.calibrator for fold, of_fold in fitted.items()}
    return Calibration("fold_platt", calibrators, calibrators, _notes(fitted, predictions.labels, "its validation clips have"))


def _notes(fitted: dict[int, Fitted], labels: Sequence[str], whose: str) -> tuple[str, ...]:
    return tuple(
        f"Fold {fold}: {whose} one class of {', '.join(labels[column] for column in of_fold.unchanged)}: not calibrated."
        for fold, of_fold in fitted.items()
        if of_fold.unchanged
    )

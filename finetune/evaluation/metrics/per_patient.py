"""Every patient apart: a pooled figure hides a patient whose every clip is wrong."""

from typing import Any

import numpy as np
import pandas as pd

from finetune.evaluation.metrics.label_metrics import auroc
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.result import Evaluation


def per_patient_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row per label and patient (or recording, where no patient is named) with an annotated clip.

    Returns:
        Columns label, patient, fold, clips, positives, mean_probability, share_right (of the cross-fitted decisions) and auroc, NaN
        where the patient's clips are all of one class. Patients without a positive clip come first, each part by mean probability.
    """
    predictions, names, parts = evaluation.predictions, patient_names(evaluation.predictions), []
    for column, label in enumerate(predictions.labels):
        known = ~np.isnan(predictions.targets[:, column])
        clips = pd.DataFrame(
            {
                "patient": names[known],
                "fold": predictions.fold[known],
                "truth": predictions.targets[known, column],
                "probability": predictions.probabilities[known, column],
                "right": evaluation.decisions[known, column] == predictions.targets[known, column],
            }
        )
        rows = [_row(label, str(patient), of) for patient, of in clips.groupby("patient", sort=True)]
        parts.append(pd.DataFrame(rows, columns=[*_row(label, "", clips.iloc[:0])]))
    table = pd.concat(parts, ignore_index=True)
    order = table.assign(label=table["label"].map(list(predictions.labels).index), ill=table["positives"] > 0)
    order = order.sort_values(["label", "ill", "mean_probability", "patient"])
    return table.loc[order.index].reset_index(drop=True)


def patient_names(predictions: OutOfFold) -> np.ndarray:
    """Each clip's patient, str [n]; "recording:NAME" where none is named."""
    return np.array([name.removeprefix("patient:") for name in predictions.group], dtype=object)


def per_patient_summary(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Label -> patients, the median and lowest share of clips decided right, patients mostly wrong, and the mean AUROC within patients."""
    summary: dict[str, dict[str, Any]] = {}
    for label, rows in table.groupby("label", sort=False):
        areas, share = rows["auroc"].dropna(), rows["share_right"]
        summary[str(label)] = {
            "patients": len(rows),
            "with_positive": int((rows["positives"] > 0).sum()),
            "median_share_right": float(share.median()),
            "lowest_share_right": float(share.min()),
            "mostly_wrong": int((share < 0.5).sum()),
            "auroc_patients": len(areas),
            "mean_auroc": float(areas.mean()) if len(areas) else None,
        }
    return summary


def _row(label: str, patient: str, clips: pd.DataFrame) -> dict[str, Any]:
    truth = clips["truth"].to_numpy() == 1
    area = auroc(truth, clips["probability"].to_numpy()) if len(clips) else None
    return {
        "label": label,
        "patient": patient,
        "fold": int(clips["fold"].iloc[0]) if len(clips) else -1,
        "clips": len(clips),
        "positives": int(truth.sum()),
        "mean_probability": float(clips["probability"].mean()),
        "share_right": float(clips["right"].mean()),
        "auroc": np.nan if area is None else area,
    }

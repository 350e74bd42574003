"""Which patients and records fail: the patients with the most wrong records, likely label errors, and the worst errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lungs.datasets import SOUNDS
from finetune.evaluation.label_errors import likely_label_errors
from finetune.evaluation.metrics.per_patient import per_patient_table
from finetune.evaluation.result import Evaluation
from finetune.report.examples import worst_errors

CLIP = ["clip_id", "patient", "label", "annotated"]


def failing_patients(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Every label and patient with ``wrong`` records, those with the most first; figures are means over the seeds.

    Returns:
        Columns label, patient, clips, positives, mean_probability, wrong (number of records that are decided wrong).
    """
    tables = pd.concat([per_patient_table(evaluation) for evaluation in evaluations])
    tables["wrong"] = tables["clips"] * (1 - tables["share_right"])
    means = tables.groupby(["label", "patient"])[["clips", "positives", "mean_probability", "wrong"]].mean().reset_index()
    means["order"] = means["label"].map(list(evaluations[0].predictions.labels).index)
    # Rounded: sums of thirds must not order equal numbers.
    means["wrong"] = means["wrong"].round(6)
    means = means.sort_values(["order", "wrong", "patient"], ascending=[True, False, True], ignore_index=True)
    return means.astype({"clips": int, "positives": int}).drop(columns="order")


def concentration(patients: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Label -> ``wrong`` records in all, ``patients``, how many of them are ``all_right``, and how few hold ``half`` of what is wrong."""
    found = {}
    for label, rows in patients.groupby("label", sort=False):
        shares = rows["wrong"].to_numpy().cumsum()
        half = int(np.searchsorted(shares, shares[-1] / 2) + 1) if shares[-1] else 0
        found[str(label)] = {
            "wrong": float(shares[-1]),
            "patients": len(rows),
            "all_right": int((rows["wrong"] == 0).sum()),
            "half": half,
        }
    return found


def label_errors(package: pd.DataFrame, evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Annotations that `likely_label_errors` doubts in the folds of every seed, the most doubtful first.

    Returns:
        Columns rank, clip_id, patient, label, annotated, probability and disagreement (means over the seeds), sounds.
    """
    tables = pd.concat([likely_label_errors(evaluation.predictions) for evaluation in evaluations])
    found = tables.groupby(CLIP).agg(seeds=("rank", "size"), probability=("probability", "mean"), disagreement=("disagreement", "mean"))
    found = found[found["seeds"] == len(evaluations)].reset_index().drop(columns="seeds").round(4)
    found = found.sort_values(["disagreement", "clip_id", "label"], ascending=[False, True, True], ignore_index=True)
    found.insert(0, "rank", np.arange(1, len(found) + 1))
    return found.assign(sounds=_sounds(package, found["clip_id"]))


def worst_records(package: pd.DataFrame, evaluation: Evaluation, count: int) -> pd.DataFrame:
    """`worst_errors` with the types of their sounds, as ``finetune report --examples COUNT`` of that seed's run shows them."""
    found = worst_errors(evaluation, count)
    return found.assign(sounds=_sounds(package, found["clip_id"]))


def _sounds(package: pd.DataFrame, clips: pd.Series) -> list[str]:
    """What the record's events are annotated with, by its fine types."""
    rows = package.set_index("clip_id").loc[clips]
    return [", ".join(name for column, name in SOUNDS.items() if row[column] == 1) for _, row in rows.iterrows()]

"""AUROC within groups of clips: devices, sites, native sample rates, ages, sexes. A model may work on some of them only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetune.evaluation.intervals.bootstrap import Interval, count_groups, patient_weights, percentile_interval
from finetune.evaluation.metrics.label_metrics import auroc, weighted_auroc

COLUMNS = {
    "device": "Device",
    "device_listed": "Device, by the other reading",
    "sample_rate": "Native sample rate, Hz",
    "site": "Site",
    "age_group": "Age group",
    "sex": "Sex",
}
MIN_PATIENTS = 5
AGES = {
    "under 2 years": (0, 2),
    "2 to 11 years": (2, 12),
    "12 to 17 years": (12, 18),
    "18 to 64 years": (18, 65),
    "65 years and over": (65, 200),
}
"""The age classes of ICH E11 and E7, new-borns with the infants."""


@dataclass(frozen=True)
class GroupAuroc:
    """AUROC of one label within one group.

    Attributes:
        column: what the group is of, a key of `COLUMNS`.
        value: its value, for example a device's name.
        label: the label.
        patients: patients (or recordings) with an annotated clip.
        clips: annotated clips.
        positives: of them positive.
        auroc: None where it is not evaluable.
        interval: 95 %, over the group's patients.
        reason: why it is not evaluable; empty where it is.
    """

    column: str
    value: str
    label: str
    patients: int
    clips: int
    positives: int
    auroc: float | None
    interval: Interval
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Flat, JSON-safe."""
        return dict(vars(self))


def describing_columns(table: pd.DataFrame, manifest: pd.DataFrame | None) -> pd.DataFrame:
    """The columns of `COLUMNS` that are known, as text with "" for unknown; one row per clip of ``table``.

    Args:
        table: of out-of-fold predictions; has clip_id, device and site.
        manifest: the run's manifest, which may add device_listed, sample_rate, age_years and sex; None where it is not there.
    """
    known = {name: table[name] for name in ("device", "site") if name in table}
    if manifest is not None:
        joined = manifest.drop_duplicates("clip_id").set_index("clip_id").reindex(table["clip_id"]).reset_index(drop=True)
        if "device_listed" in joined and "device" in known:
            # Of ICBHI: empty where the list of the official split names the device that the file name does.
            listed = joined["device_listed"].astype(object).fillna("").astype(str)
            if (listed != "").any():
                known["device_listed"] = listed.where(listed != "", known["device"].to_numpy())
        if "sample_rate" in joined:
            known["sample_rate"] = joined["sample_rate"].map(lambda rate: "" if pd.isna(rate) else f"{rate:.0f}")
        if "age_years" in joined:
            known["age_group"] = pd.to_numeric(joined["age_years"], errors="coerce").map(age_group)
        if "sex" in joined:
            known["sex"] = joined["sex"].astype(object).fillna("").astype(str)
    return pd.DataFrame({name: known[name] for name in COLUMNS if name in known and (known[name] != "").any()}, index=table.index)


def age_group(years: float) -> str:
    """The class of `AGES` that an age belongs to; "" where it is unknown or impossible."""
    return next((name for name, (low, high) in AGES.items() if low <= years < high), "")


def group_aurocs(
    columns: pd.DataFrame,
    targets: np.ndarray,
    probabilities: np.ndarray,
    group: np.ndarray,
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> list[GroupAuroc]:
    """AUROC of every label within every value of every column.

    A group with fewer than `MIN_PATIENTS` patients, or with one class only, is listed with the reason and without a figure.

    Args:
        columns: see `describing_columns`; n rows.
        targets: [n, L] of 1, 0 or NaN (left out of that label).
        probabilities: [n, L].
        group: [n], the patient or recording of each clip.
        labels: names of the L labels.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    found = []
    for name in columns.columns:
        values = columns[name].to_numpy(str)
        for value in sorted(set(values) - {""}, key=lambda text: (list(AGES).index(text) if text in AGES else 0, len(text), text)):
            for index, label in enumerate(labels):
                rows = (values == value) & ~np.isnan(targets[:, index])
                truth, scores, of = targets[rows, index] == 1, probabilities[rows, index], group[rows]
                patients, positives = count_groups(of), int(truth.sum())
                reason = _reason(patients, positives, len(truth))
                area, interval = None, None
                if not reason:
                    drawn = np.concatenate([weighted_auroc(truth, scores, weights) for weights in patient_weights(of, resamples, seed)])
                    area, interval = auroc(truth, scores), percentile_interval(drawn, patients)
                found.append(GroupAuroc(name, value, label, patients, len(truth), positives, area, interval, reason))
    return found


def _reason(patients: int, positives: int, clips: int) -> str:
    if not clips:
        return "no annotated clip"
    if positives in (0, clips):
        return "no positive clip" if not positives else "no negative clip"
    return f"fewer than {MIN_PATIENTS} patients" if patients < MIN_PATIENTS else ""

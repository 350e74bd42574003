"""Annotated events: a table of them, or a manifest whose clips are events."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import read_csv
from common.manifest import groups, read_manifest
from finetune.events.span_table import SPAN_COLUMNS, spans
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Reference:
    """Annotated recordings.

    Attributes:
        events: of the scored labels, see `finetune.events.span_table.spans`.
        group: recording -> its patient, or itself where none is named; those without an event are here too.
        labels: that are scored.
        by_patient: every recording names its patient.
    """

    events: pd.DataFrame
    group: dict[str, str]
    labels: tuple[str, ...]
    by_patient: bool


def read_reference(path: Path, labels: Sequence[str] | None, task: Task | None = None) -> Reference:
    """Read annotations.

    A table has the columns recording, label, onset_s and offset_s, and may have patient; a row with a recording and neither label nor times
    says that the recording was annotated and has no event. Anything else is a manifest: a clip that has a label is an event of it, from
    start_s to end_s, and a clip on which no label is annotated is none.

    Args:
        path: CSV file, or a manifest.
        labels: to score; those of the table where nothing is said.
        task: of the model, which reads its labels from a manifest; without it labels are the manifest's columns.

    Raises:
        UserError: a column is missing, a row is wrong, or it is not known what to score.
    """
    columns = pd.Index([]) if path.suffix == ".parquet" else read_csv(path, nrows=0).columns
    if set(SPAN_COLUMNS) <= set(columns):
        return _of_table(path, labels)
    if labels is None:
        raise UserError(f"{path} is a manifest, and what of it is to be scored is not known: name the labels by --labels.")
    return _of_manifest(path, labels, task)


def _of_table(path: Path, labels: Sequence[str] | None) -> Reference:
    table = read_csv(path, text=("recording", "label", "patient"))
    empty = (table["label"] == "") & table["onset_s"].isna() & table["offset_s"].isna()
    events = spans(table[~empty], str(path))
    scored = tuple(sorted(set(events["label"]))) if labels is None else tuple(labels)
    patient = table["patient"] if "patient" in table else pd.Series("", index=table.index)
    return _reference(events, table.assign(patient=patient), scored)


def _of_manifest(path: Path, labels: Sequence[str], task: Task | None) -> Reference:
    if task is None or not set(labels) <= set(task.labels):
        manifest = read_manifest(path, labels)
    else:
        manifest = task.as_label_columns(task.read(path))
    end_s = manifest["end_s"].fillna(manifest["duration_s"])
    annotated = manifest[list(labels)].notna().any(axis=1)
    table = manifest[["recording"]].assign(onset_s=manifest["start_s"], offset_s=end_s)
    events = pd.concat([table[annotated & (manifest[label] == 1)].assign(label=label) for label in labels])
    return _reference(spans(events, str(path)), manifest[annotated], tuple(labels))


def _reference(events: pd.DataFrame, table: pd.DataFrame, labels: tuple[str, ...]) -> Reference:
    """Of ``table``, whose rows name every annotated recording and its patient."""
    if not labels or table.empty:
        raise UserError("The reference has no annotated recording, or no label to score: there is nothing to compare with.")
    named = table.drop_duplicates("recording")
    group = dict(zip(named["recording"], groups(named), strict=True))
    by_patient = bool(np.all(named["patient"] != ""))
    return Reference(events[events["label"].isin(labels)], group, labels, by_patient)

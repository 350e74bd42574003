"""A run's worst errors, to look at and to listen to."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from common.errors import UserError
from common.page.listening import Listening, listening
from common.page.page import MISSING, number
from finetune.evaluation.result import Evaluation

KINDS = {"false negative": 1, "false positive": 0}
COLUMNS = ("label", "kind", "clip_id", "recording", "patient", "fold", "annotated", "probability", "threshold", "decided")


@dataclass(frozen=True)
class Examples:
    """The worst errors of a run.

    Attributes:
        table: columns of `COLUMNS`, one row per error.
        shown: (label, kind) -> its errors, those that can be heard.
        silent: why the others cannot be; empty where all can.
    """

    table: pd.DataFrame
    shown: dict[tuple[str, str], list[Listening]] = field(default_factory=dict)
    silent: str = ""


def worst_errors(evaluation: Evaluation, count: int) -> pd.DataFrame:
    """The ``count`` worst errors of the scored labels, by how far the probability is from the annotation.

    Every label's false negatives and false positives give their worst in turn, so that a label whose probabilities are all low does
    not fill the list with its false negatives.

    Returns:
        Columns of `COLUMNS`: threshold is that which decided the clip, annotated and decided are 1 or 0.
    """
    kinds = [_errors(evaluation, label, kind) for label in evaluation.scored for kind in KINDS]
    turns = [row for turn in zip_longest(*kinds) for row in turn if row is not None]
    return pd.DataFrame(turns[:count], columns=list(COLUMNS))


def examples(evaluation: Evaluation, count: int, manifest: pd.DataFrame | None, sample_rate: int | None) -> Examples:
    """`worst_errors` with their audio, read from the files that ``manifest`` names; None where it is not there.

    ``sample_rate`` is the networks', Hz, up to half of which spectrograms are drawn; None where the run has none, or several.
    """
    table = worst_errors(evaluation, count)
    if manifest is None:
        return Examples(table, silent="The run's manifest is no longer there: name it with --manifest to see and hear these clips.")
    shown: dict[tuple[str, str], list[Listening]] = {}
    lacking: list[str] = []
    clips = manifest.drop_duplicates("clip_id").set_index("clip_id")
    for row in table.to_dict("records"):
        try:
            shown.setdefault((row["label"], row["kind"]), []).append(_heard(row, clips, sample_rate))
        except UserError as error:
            lacking.append(str(error))
    silent = f"{len(lacking)} of these {len(table)} clips cannot be heard; the first: {lacking[0]}" if lacking else ""
    return Examples(table, shown, silent)


def _errors(evaluation: Evaluation, label: str, kind: str) -> Iterator[tuple[object, ...]]:
    predictions, column, annotated = evaluation.predictions, evaluation.predictions.labels.index(label), KINDS[kind]
    truth, probability = predictions.targets[:, column], predictions.probabilities[:, column]
    rows = np.flatnonzero((truth == annotated) & (evaluation.decisions[:, column] != annotated))
    for row in rows[np.argsort(-np.abs(probability[rows] - annotated), kind="stable")]:
        fold = int(predictions.fold[row])
        named = predictions.table.loc[row, ["clip_id", "recording", "patient"]]
        threshold = evaluation.fold_thresholds[fold].values[column]
        yield (label, kind, *named, fold, annotated, float(probability[row]), threshold, int(evaluation.decisions[row, column]))


def _heard(row: dict[Hashable, Any], clips: pd.DataFrame, sample_rate: int | None) -> Listening:
    clip_id = str(row["clip_id"])
    if clip_id not in clips.index:
        raise UserError(f"clip {clip_id} is not in the manifest: name the run's own with --manifest.")
    words = {1: "present", 0: "absent"}
    facts = {
        "Patient": str(row["patient"]) or MISSING,
        "Annotated": f"{row['label']} {words[row['annotated']]}",
        "Probability": f"{number(row['probability'])}, threshold {number(row['threshold'])}",
        "Decided": words[row["decided"]],
        "Fold": str(row["fold"]),
    }
    return listening(clips.loc[[clip_id]].iloc[0], clip_id, facts, sample_rate)

"""What a bundle says of the clips behind it: who they are, how the model does in groups of them, and what drift is measured against."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from common.audio.quality import FLAG_NAMES, flag_names, quality_flags
from common.audio.read import read_audio, to_mono
from common.errors import UserError
from finetune.evaluation.metrics.by_group import describing_columns, group_aurocs
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.result import Evaluation

BINS = 20
# Decoding all of a large set would take longer than the export.
MOST_FLAGGED_CLIPS = 500
RESAMPLES = 1000


def groups(evaluation: Evaluation, manifest: pd.DataFrame | None) -> list[dict[str, Any]]:
    """AUROC of every label within groups of clips, with intervals over patients, as the report has it."""
    found = evaluation.predictions
    columns = describing_columns(found.table, manifest)
    of_groups = group_aurocs(columns, found.targets, found.probabilities, found.group, found.labels, RESAMPLES, seed=0)
    return [group.as_json() for group in of_groups]


def population(predictions: OutOfFold, manifest: pd.DataFrame | None) -> dict[str, Any]:
    """Counts of the clips that the folds hold out, which are all but those that no fold does."""
    counts, table = predictions.counts(), predictions.table
    columns = describing_columns(table, manifest)
    labels = {}
    for column, label in enumerate(predictions.labels):
        targets = predictions.targets[:, column]
        labels[label] = {
            "positive": int((targets == 1).sum()),
            "negative": int((targets == 0).sum()),
            "unknown": int(np.isnan(targets).sum()),
        }
    return {
        **{name: counts[name] for name in ("clips", "patients", "recordings")},
        "labels": labels,
        "columns": {
            name: {
                value: {"clips": int((columns[name] == value).sum()), "patients": int(table["patient"][columns[name] == value].nunique())}
                for value in sorted(set(columns[name]) - {""})
            }
            for name in columns
        },
    }


def reference(predictions: OutOfFold, manifest: pd.DataFrame | None) -> dict[str, Any]:
    """Distributions of scores and of faults, with which those of a running service are compared."""
    edges = np.arange(BINS + 1) / BINS
    counts = {
        label: np.histogram(predictions.probabilities[:, column], edges)[0].tolist() for column, label in enumerate(predictions.labels)
    }
    shares, clips = _flags(predictions, manifest)
    return {"edges": edges.tolist(), "probabilities": counts, "clips": len(predictions.table), "flags": shares, "flagged_clips": clips}


def _flags(predictions: OutOfFold, manifest: pd.DataFrame | None) -> tuple[dict[str, float] | None, int | None]:
    """Shares of the clips with each quality flag, and of how many; None where a recording does not open."""
    if manifest is None:
        return None, None
    clips = manifest[manifest["clip_id"].isin(predictions.table["clip_id"])]
    some = clips.iloc[np.unique(np.linspace(0, len(clips) - 1, MOST_FLAGGED_CLIPS).round().astype(int))] if len(clips) else clips
    counted: Counter[str] = Counter()
    for row in some.to_dict("records"):
        try:
            waveform, rate = read_audio(row["path"])
        except UserError:
            return None, None
        end = None if pd.isna(row["end_s"]) else round(row["end_s"] * rate)
        heard = torch.from_numpy(to_mono(waveform)[round(row["start_s"] * rate) : end]).unsqueeze(0)
        counted.update(flag_names(int(quality_flags(heard, torch.tensor([heard.shape[1]]), rate)[0])))
    return ({name: counted[name] / len(some) for name in FLAG_NAMES.values()}, len(some)) if len(some) else (None, None)

"""The table of a run's figures: a row per fold, then mean, standard deviation and all clips together."""

from typing import Any

import pandas as pd

from finetune.evaluation.metrics.scores import Scores
from finetune.evaluation.result import Evaluation


def per_fold_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row per fold, then "mean", "sd" and "pooled".

    Returns:
        Columns fold (str), clips, annotated_clips, patients, then every figure of `Scores.flat`, NaN where there is none.
    """
    mean, deviation = evaluation.spread()
    table = evaluation.predictions.table
    rows: list[dict[str, Any]] = []
    for fold, scores in evaluation.folds.items():
        of_fold = evaluation.predictions.fold == fold
        rows.append({"fold": str(fold), **_sizes(table[of_fold], scores), **scores.flat()})
    rows.append({"fold": "mean", **mean})
    rows.append({"fold": "sd", **deviation})
    rows.append({"fold": "pooled", **_sizes(table, evaluation.pooled), **evaluation.pooled.flat()})
    counts = ["clips", "annotated_clips", "patients"]
    result = pd.DataFrame(rows)
    result[counts] = result[counts].astype("Int64")
    figures = [name for name in result.columns if name != "fold" and name not in counts]
    result[figures] = result[figures].astype(float)
    return result[["fold", *counts, *figures]]


def _sizes(table: pd.DataFrame, scores: Scores) -> dict[str, int | None]:
    named = (table["patient"] != "").all()
    return {"clips": len(table), "annotated_clips": scores.clips, "patients": int(table["patient"].nunique()) if named else None}

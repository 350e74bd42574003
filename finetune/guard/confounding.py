"""Whether the recorder gives the labels away: what the device or the native sample rate alone predicts, and labels that a fold lacks.

A model can learn the recorder in place of the disease. The check is honest about patients: the score of a clip is the share of
positives among the clips of its device in the *other* folds, so that one patient with many clips on one device proves nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from finetune.evaluation.metrics.label_metrics import auroc
from finetune.folds.table import NEVER
from finetune.guard.findings import Finding

# AUROC of the recorder alone above which it is said. On data without confounding it scatters about 0.5.
LIMIT_AUROC = 0.65
# Weight of the overall share of positives in a device's share, in clips: a device of three clips says little.
PRIOR_CLIPS = 5.0

CODES = {"device": "device_tells_label", "sample_rate": "rate_tells_label"}
PLURALS = {"device_tells_label": "devices", "rate_tells_label": "sample rates", "input_tells_label": "groups by {column}"}
# A number with more different values than this is divided into four groups of as many clips.
MOST_VALUES = 8


def confounding_findings(table: pd.DataFrame, folds: pd.DataFrame, labels: Sequence[str], inputs: Sequence[str] = ()) -> list[Finding]:
    """Labels that device, native sample rate or one of ``inputs`` alone predict with an out-of-fold AUROC above `LIMIT_AUROC`.

    Of ``inputs``, metadata columns that a model takes, being empty is a value too: the model is told of it.
    """
    found = []
    looked_at = [(column, code, _text(table[column])) for column, code in CODES.items()]
    looked_at += [(column, "input_tells_label", _input_text(table[column])) for column in inputs]
    for column, code, values in looked_at:
        for label in labels:
            known = table[label].notna() & (table["quality"] != "poor") & (values != "")
            recorder = values[known].to_numpy(str)
            positive = table[label][known].to_numpy() == 1
            if len(set(recorder)) < 2 or positive.all() or not positive.any():
                continue
            fold = folds["fold"][known].to_numpy()
            judged = fold != NEVER
            score = auroc(positive[judged], _out_of_fold_share(recorder, positive, fold)[judged])
            if score is not None and score > LIMIT_AUROC:
                kinds = len(set(recorder))
                found.append(
                    Finding(
                        code,
                        label,
                        "",
                        f"out-of-fold AUROC {score:.3f} (limit {LIMIT_AUROC:g}), Cramér's V {cramers_v(recorder, positive):.2f}, over "
                        f"{kinds} {PLURALS[code].format(column=column)}",
                    )
                )
    return found


def missing_label_findings(table: pd.DataFrame, folds: pd.DataFrame, labels: Sequence[str]) -> list[Finding]:
    """Labels of which some fold holds out no positive clip."""
    found = []
    for label in labels:
        having = (table[label] == 1) & (table["quality"] != "poor")
        empty = sorted(set(folds["fold"]) - set(folds["fold"][having]) - {NEVER})
        if empty:
            found.append(Finding("label_without_positives", label, "", f"fold {', '.join(map(str, empty))}: its metrics there are empty"))
    return found


def cramers_v(rows: np.ndarray, columns: np.ndarray) -> float:
    """Association of two categorical variables, [n] each: sqrt(chi2 / (n min(r - 1, c - 1))), 0 to 1.

    Reference: Cramér 1946, chapter 21.9.
    """
    counts = pd.crosstab(rows, columns).to_numpy(float)
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    chi2 = ((counts - expected) ** 2 / expected).sum()
    smaller = min(counts.shape) - 1
    return float(np.sqrt(chi2 / (counts.sum() * smaller))) if smaller else 0.0


def _text(column: pd.Series) -> pd.Series:
    return column.astype(object).map(lambda value: "" if pd.isna(value) else str(value))


def _input_text(column: pd.Series) -> pd.Series:
    """As `_text`, with numbers by quarters, and "missing" where it is empty."""
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_VALUES:
        column = pd.qcut(column, 4, duplicates="drop")
    text = _text(column)
    return text.where(text != "", "missing")


def _out_of_fold_share(recorder: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Smoothed share of positives of each clip's recorder in the other folds, [n].

    The prior is that of all clips, not of the other folds: theirs falls where a fold's own rises, and would rank the folds.
    """
    score = np.full(len(positive), positive.mean())
    for name in np.unique(recorder):
        own = recorder == name
        for number in np.unique(fold[own]):
            rest = own & (fold != number)
            score[own & (fold == number)] = (positive[rest].sum() + PRIOR_CLIPS * positive.mean()) / (rest.sum() + PRIOR_CLIPS)
    return score

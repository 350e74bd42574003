"""What a finished cross-validation says of itself: the table per fold, its figures, and one run that tracks its summary."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from common.progress import console, say
from common.training.tracking import Curves, Summary, Tracking, ended_loggers, start_trackers
from finetune.evaluation.metrics.curves import precision_recall, roc
from finetune.evaluation.metrics.per_fold import per_fold_table
from finetune.evaluation.result import Evaluation
from finetune.run_folder import FOLD


def headline(run: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Pooled macro AUROC, its mean and standard deviation over folds, scores of exclusive classes, and the minutes that training took."""
    figures = evaluation.figures()
    seconds = sum(record["seconds"] for record in fold_records(run))
    names = ("macro_auroc", "macro_auroc_mean", "macro_auroc_sd", *(evaluation.classes.headlines if evaluation.task.one_of else ()))
    return {**{name: figures[name] for name in names}, "minutes": round(seconds / 60, 2)}


def fold_records(run: Path) -> list[dict[str, Any]]:
    """What every finished fold of ``run`` wrote into its fold.json, by fold."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in run.glob(f"fold-*/{FOLD}")]
    return sorted(records, key=lambda record: record["fold"])


def print_folds(run: Path, evaluation: Evaluation) -> None:
    """Print AUROCs per fold, their mean and standard deviation, to standard error."""
    epochs = {str(record["fold"]): record["best_epoch"] for record in fold_records(run) if record["best_epoch"] is not None}
    labels = evaluation.predictions.labels
    names = ["macro_auroc", *(f"auroc_{label}" for label in labels)]
    shown = Table("fold", "clips", "patients", "best epoch", "macro", *labels, title="AUROC out of fold", title_justify="left")
    for _, row in per_fold_table(evaluation).iterrows():
        sizes = ["" if pd.isna(row[name]) else str(row[name]) for name in ("clips", "patients")]
        figures = ["-" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in names]
        shown.add_row(str(row["fold"]), *sizes, str(epochs.get(str(row["fold"]), "")), *figures)
    console.print(shown)
    for note in evaluation.notes():
        say(note)


def track_summary(tracking: Tracking, run: Path, config: dict[str, Any], evaluation: Evaluation) -> None:
    """Show mean, standard deviation, the table of folds and pooled curves in one run beside (W&B) or above (MLflow) those of the folds."""
    tracking = replace(tracking, job_type="summary", name=f"{tracking.experiment}-summary")
    mean, deviation = evaluation.spread()
    of = {"mean": mean, "sd": deviation, "pooled": evaluation.pooled.flat()}
    figures = {f"{kind}/{name}": value for kind in of for name, value in of[kind].items() if value is not None}
    summary = Summary(figures, {"folds": per_fold_table(evaluation)}, _pooled_curves(evaluation))
    trackers = start_trackers(tracking, run, config)
    with ended_loggers(trackers):
        for tracker in trackers:
            tracker.log_summary(summary)


def _pooled_curves(evaluation: Evaluation) -> dict[str, Curves]:
    """ROC and precision-recall curves of all out-of-fold clips."""
    predictions = evaluation.predictions
    plots = {}
    kinds = (("roc", roc, "1 - specificity", "sensitivity"), ("precision_recall", precision_recall, "recall", "precision"))
    for name, curve_of, x, y in kinds:
        lines = {}
        for column, label in enumerate(predictions.labels):
            curve = curve_of(predictions.targets[:, column], predictions.probabilities[:, column])
            if curve is not None:
                lines[label] = (curve.x.tolist(), curve.y.tolist())
        if lines:
            plots[f"pooled/{name}"] = Curves(lines, f"pooled {name}", x, y)
    return plots

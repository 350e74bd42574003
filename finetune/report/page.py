"""Fill the report's page: what is shown, in which order, in which words. How it looks is in report.html."""

from typing import Any

from common.page.page import Picture, Table, fill, number
from finetune.evaluation.details import Details
from finetune.evaluation.metrics.class_scores import TITLES as CLASS_TITLES
from finetune.evaluation.metrics.label_metrics import METRICS
from finetune.evaluation.result import Evaluation
from finetune.evaluation.thresholds.per_label import Thresholds
from finetune.report import clip_sections, detail_sections, figures
from finetune.report.best_epoch import Choices, best_epoch_table
from finetune.report.caveats import caveats_of
from finetune.report.class_abstention import class_abstention_table, class_risk_coverage_picture
from finetune.report.clip_details import ClipDetails
from finetune.report.facts import data_facts, provenance_facts
from finetune.report.text import fold_rows, interval, summary_line
from finetune.run_folder import RunFolder
from finetune.tasks.base import ClassScore

TITLES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "accuracy": "Accuracy",
}
COUNTS = {"n": "Clips", "positives": "Positive", "prevalence": "Prevalence"}
RULES = {
    "youden": "maximises Youden's J (sensitivity + specificity - 1)",
    "f1": "maximises F1",
    "score": "maximises the challenge's score",
    "normal": "maximises the challenge's score, by the threshold of the normal class against one for all others",
}


def render(folder: RunFolder, evaluation: Evaluation, details: Details, clips: ClipDetails, choices: Choices) -> str:
    """The page as one HTML text that needs no other file and no network."""
    return fill(
        "finetune.report",
        name=folder.path.resolve().name,
        summary=summary_line(evaluation),
        caveats=caveats_of(folder, evaluation),
        notes=evaluation.notes(),
        cards=_cards(evaluation),
        resampled="patients" if folder.record.get("grouped_by") == "patient" else "recordings",
        intervals=evaluation.intervals,
        rule=_rule(evaluation.thresholds),
        scored=" and ".join(evaluation.scored),
        one_of=folder.task.one_of,
        exclusive=None if folder.task.one_of else folder.task.normal,
        scores=folder.task.class_scores,
        poor_quality_counts=folder.task.poor_quality_counts,
        labels=_label_table(evaluation),
        folds=_fold_table(folder, evaluation),
        spread=_spread_table(evaluation),
        best_epoch=best_epoch_table(choices),
        split=(folder.record.get("split") or {}).get("caveats", []),
        thresholds=_threshold_table(evaluation),
        curves=_curves(evaluation),
        confusions=_confusions(evaluation),
        histogram=_histogram(evaluation),
        calibrated_on=(folder.record.get("transfer") or {}).get("run"),
        calibrated=detail_sections.CHOICES[evaluation.calibration.choice],
        calibration=detail_sections.calibration_table(details),
        reliability=detail_sections.reliability_picture(evaluation, details),
        **_abstaining(evaluation, details),
        groups=detail_sections.group_tables(details),
        strips=clip_sections.strip_picture(evaluation, clips.patients),
        patients=clip_sections.patient_table(clips.patients),
        label_errors=clip_sections.label_error_table(clips.label_errors),
        examples=clips.examples,
        data=data_facts(folder, evaluation),
        provenance=provenance_facts(folder),
    )


def _rule(thresholds: Thresholds) -> str:
    if thresholds.rule == "equal":
        return "is the same for all"
    if thresholds.sensitivity is not None:
        return f"is the highest that finds at least {thresholds.sensitivity:.0%} of the positive clips on out-of-fold predictions"
    return f"{RULES[thresholds.rule]} on out-of-fold predictions"


def _cards(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """(what, figure, how it is meant) of the page's first row."""
    mean, deviation = evaluation.spread()
    counts = evaluation.predictions.counts()
    groups = "patients" if counts["patients"] is not None else "recordings"
    pooled = number(evaluation.pooled.macro["auroc"]), f"95 % interval {interval(evaluation.intervals.macro)}"
    over_folds = (
        "Macro AUROC, over folds",
        f"{number(mean['macro_auroc'])} ± {number(deviation['macro_auroc'])}",
        f"mean ± standard deviation of {len(evaluation.folds)} folds; "
        f"95 % interval of the mean {interval(evaluation.mean_intervals['macro_auroc'])}",
    )
    auroc = [("Macro AUROC", *pooled)] if len(evaluation.folds) == 1 else [("Macro AUROC, pooled", *pooled), over_folds]
    return [
        *auroc,
        *(_class_card(evaluation, family) for family in evaluation.task.class_scores),
        ("Annotated clips", number(counts["annotated_clips"]), f"of {number(evaluation.intervals.groups)} {groups}"),
    ]


def _abstaining(evaluation: Evaluation, details: Details) -> dict[str, Any]:
    """The section on abstaining: of all classes by one limit, or of each label by its band."""
    found = details.class_abstention
    if found is not None:
        table, curve, kept = class_abstention_table(found), class_risk_coverage_picture(found), found.kept
    else:
        table, curve = detail_sections.abstention_table(details), detail_sections.risk_coverage_picture(evaluation, details)
        kept = next(of.kept for of in details.abstentions.values())
    return {"by_limit": found is not None, "kept": kept, "abstention": table, "risk_coverage": curve}


def _class_card(evaluation: Evaluation, family: ClassScore) -> tuple[str, str, str]:
    """The headline of a family of figures over classes, the others of the family beside it."""
    (name, title), *others = CLASS_TITLES[family].items()
    found = evaluation.pooled.classes.figures
    beside = ", ".join(f"{what} {number(found[other])}" for other, what in others)
    return title, number(found[name]), f"95 % interval {interval(evaluation.intervals.figures[name])}; {beside}"


def _label_table(evaluation: Evaluation) -> Table:
    """One row per metric, since a value and its interval for each would make a row per label wider than the page."""
    of = {**evaluation.pooled.labels, "macro": evaluation.pooled.macro}
    rows = []
    for what in ("n", "positives", "prevalence"):
        cells = [number(metrics[what]) for metrics in evaluation.pooled.labels.values()]
        rows.append([COUNTS[what], *(cell for value in cells for cell in (value, "")), "", ""])
    for name in METRICS:
        cells = []
        for label, metrics in of.items():
            between = evaluation.intervals.figures[f"macro_{name}" if label == "macro" else f"{name}_{label}"]
            cells += ["not evaluable", ""] if label in evaluation.not_evaluable else [number(metrics[name]), interval(between)]
        rows.append([TITLES[name], *cells])
    head = [cell for label in of for cell in (label, "95 % interval")]
    return Table(f"All out-of-fold clips together; macro: mean of {' and '.join(evaluation.scored)}", ["Per label", *head], rows)


def _spread_table(evaluation: Evaluation) -> Table:
    mean, deviation = evaluation.spread()
    pooled, titles = evaluation.pooled.flat(), {"macro_auroc": "Macro AUROC"}
    titles |= {f"auroc_{label}": f"AUROC {label}" for label in evaluation.predictions.labels}
    titles |= {"macro_average_precision": "Macro average precision", "macro_f1": "Macro F1"}
    titles |= evaluation.classes.titles
    rows = []
    for name, title in titles.items():
        together = [number(pooled[name]), interval(evaluation.intervals.figures[name])]
        rows.append([title, *together, number(mean[name]), interval(evaluation.mean_intervals[name]), number(deviation[name])])
    head = ["Figure", "Pooled", "95 % interval", "Mean over folds", "95 % interval", "Standard deviation over folds"]
    return Table("Pooled and over folds", head, rows)


def _fold_table(folder: RunFolder, evaluation: Evaluation) -> Table:
    columns = {"fold": "Fold", "patients": "Patients", "annotated_clips": "Annotated clips", "macro_auroc": "Macro AUROC"}
    columns |= {f"auroc_{label}": f"AUROC {label}" for label in evaluation.predictions.labels}
    columns |= {"macro_average_precision": "Macro average precision", "macro_f1": "Macro F1"}
    columns |= evaluation.classes.titles
    rows = fold_rows(evaluation, list(columns))
    for row, fold in zip(rows, evaluation.folds, strict=False):
        record = folder.fold_records.get(fold, {})
        row += [number(folder.clips_by_role(fold, "train")), number(folder.clips_by_role(fold, "validation"))]
        row.append(number(record.get("best_epoch")))
    count = len(evaluation.folds)
    foot = [[*row, "", "", ""] for row in rows[count:]]
    head = [*columns.values(), "Training clips", "Validation clips", "Best epoch"]
    return Table("Per fold, held-out clips of that fold alone", head, rows[:count], foot)


def _threshold_table(evaluation: Evaluation) -> Table:
    rows = [[label, number(value)] for label, value in zip(evaluation.thresholds.labels, evaluation.thresholds.values, strict=True)]
    for thresholds in evaluation.fold_thresholds.values():
        for row, value in zip(rows, thresholds.values, strict=True):
            row.append(number(value))
    head = ["Label", "All folds (export)", *(f"Deciding fold {fold}" for fold in evaluation.fold_thresholds)]
    return Table("Thresholds", head, rows)


def _curves(evaluation: Evaluation) -> list[Picture]:
    def each(name: str) -> str:
        return ", ".join(f"{label} {number(metrics[name])}" for label, metrics in evaluation.pooled.labels.items())

    return [
        Picture(
            "ROC curves. Thin: each fold. Bold: all out-of-fold clips pooled.",
            figures.roc_figure(evaluation),
            f"ROC curves per label; pooled AUROC: {each('auroc')}.",
        ),
        Picture(
            "Precision-recall curves. Thin: each fold. Bold: pooled. Dotted: what guessing gives, the prevalence.",
            figures.precision_recall_figure(evaluation),
            f"Precision-recall curves per label; pooled average precision: {each('average_precision')}.",
        ),
    ]


def _confusions(evaluation: Evaluation) -> list[Picture]:
    found = evaluation.pooled.classes
    words = ", ".join(f"{title} {number(found.figures[name])}" for name, title in evaluation.classes.titles.items())
    behind = "" if evaluation.task.one_of else " behind the ICBHI Score"
    per_class = Picture(
        f"Confusion of the {len(found.classes)} classes{behind} ({found.n:,} clips whose class is known).",
        figures.class_confusion_figure(evaluation),
        f"Confusion matrix of {', '.join(found.classes)}; {words}.",
    )
    if evaluation.task.one_of:
        return [per_class]
    return [
        Picture(
            "Confusion per label: clips, and their share of the true class.",
            figures.confusion_figure(evaluation),
            "Confusion matrices per label; the counts are in metrics.json.",
        ),
        per_class,
    ]


def _histogram(evaluation: Evaluation) -> Picture:
    return Picture(
        "Probabilities by true class, each class as shares of its own clips. Dashed: the export's threshold.",
        figures.histogram_figure(evaluation),
        "Histograms of the probabilities of clips with and without each label.",
    )

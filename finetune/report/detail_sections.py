"""The page's sections on calibration, abstaining and groups: tables and pictures."""

from typing import TYPE_CHECKING

import numpy as np

from common.page.drawing import INK, PALETTE
from common.page.page import MISSING, Picture, Table, number
from finetune.evaluation.abstention.per_class import ClassAbstention
from finetune.evaluation.abstention.per_label import Abstention
from finetune.evaluation.details import Details
from finetune.evaluation.metrics.by_group import COLUMNS
from finetune.evaluation.result import Evaluation
from finetune.report.figures import panels
from finetune.report.text import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHOICES = {
    "none": "as the networks give them",
    "temperature": "temperature",
    "platt": "Platt",
    "isotonic": "isotonic",
    "fold_platt": "Platt per fold",
}
ABSTENTION = {
    "coverage": "Coverage: share that is decided",
    "risk": "Risk: share of the decided that is wrong",
    "full_risk": "Risk without abstaining, by the thresholds",
    "sensitivity": "Positive clips not called absent",
    "specificity": "Negative clips not called present",
    "area": "Area under the risk-coverage curve",
}


def calibration_table(details: Details) -> Table:
    """ECE, Brier score and its parts of every way to calibrate, per label."""
    rows = []
    for choice, calibrated in details.calibrations.items():
        for label, found in calibrated.reliability.items():
            parts = [number(value) for value in (found.miscalibration, found.resolution, found.uncertainty)]
            errors = [number(found.ece), interval(found.ece_interval), number(found.brier), interval(found.brier_interval)]
            rows.append([label, CHOICES[choice], number(found.n), *errors, *parts, number(calibrated.auroc[label])])
    rows.sort(key=lambda row: [*details.calibrations["none"].reliability].index(row[0]))
    head = ["Label", "Probabilities", "Clips", "ECE", "95 % interval", "Brier", "95 % interval", "Miscalibration", "Resolution"]
    return Table("Calibration, every calibrator judged on clips that it was not fitted on", [*head, "Uncertainty", "AUROC, pooled"], rows)


def reliability_picture(evaluation: Evaluation, details: Details) -> Picture:
    """Reliability curves, one panel per label, before and after; counts under the raw ones."""

    def draw(axes: "Axes", column: int, label: str) -> None:
        axes.plot([0, 1], [0, 1], color="#7b8794", linestyle=":", linewidth=1, label="perfect")
        for colour, (choice, calibrated) in zip(PALETTE, details.calibrations.items(), strict=False):
            found = calibrated.reliability[label]
            axes.plot(found.predicted, found.observed, "o-", color=colour, markersize=3, linewidth=1.2, label=CHOICES[choice])
            if choice != "none":
                continue
            for x, y, between, count in zip(found.predicted, found.observed, found.observed_intervals, found.counts, strict=True):
                if between is not None:
                    axes.plot([x, x], between, color=colour, linewidth=0.9, alpha=0.6)
                axes.annotate(f"{count:,}", (x, y), xytext=(3, -9), textcoords="offset points", fontsize=6, color=colour)
        axes.set(title=label, xlabel="Mean probability of the bin", ylabel="Share that has the label", xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="upper left", fontsize=7)

    return Picture(
        "Reliability: in bins of equal numbers of clips, the share that has the label against the mean probability. Bars: 95 % intervals "
        "of the uncalibrated ones; numbers: their clips.",
        panels(evaluation, draw, height=3.6),
        "Reliability curves per label before and after calibration; the points are in metrics.json.",
    )


def abstention_table(details: Details) -> Table:
    """Band, coverage and risk, one column per label."""
    found = details.abstentions
    rows = [["Abstain band, all folds", *(interval(of.band) for of in found.values())], ["Clips", *(number(of.n) for of in found.values())]]
    for name, title in ABSTENTION.items():
        cells = [(getattr(of, name), of.intervals.get(name)) for of in found.values()]
        rows.append([title, *(MISSING if value is None else f"{number(value)} ({interval(between)})" for value, between in cells)])
    return Table("Abstaining, cross-fitted: the band of the other folds decides; 95 % intervals in brackets", ["Per label", *found], rows)


def risk_coverage_picture(evaluation: Evaluation, details: Details) -> Picture:
    """Risk against coverage, one panel per label."""

    def draw(axes: "Axes", column: int, label: str) -> None:
        axes.set(title=label)
        draw_risk_coverage(axes, details.abstentions[label], "abstain band")

    areas = ", ".join(f"{label} {number(found.area)}" for label, found in details.abstentions.items())
    return Picture(
        "Risk against coverage, when the clips nearest to their threshold are left undecided. Dotted: leaving out at random.",
        panels(evaluation, draw, height=2.9),
        f"Risk-coverage curves per label; area: {areas}.",
    )


def draw_risk_coverage(axes: "Axes", found: Abstention | ClassAbstention, chosen: str) -> None:
    """The curve, and where on it what ``chosen`` names decides."""
    axes.set(xlabel="Coverage: share of clips that is decided", ylabel="Risk: share of them decided wrongly", xlim=(0, 1.01))
    if found.full_risk is None:
        axes.text(0.5, 0.5, "one class only", ha="center", va="center")
        return
    shown = np.unique(np.linspace(0, len(found.curve_risk) - 1, 500).round().astype(int))
    axes.plot(found.curve_coverage[shown], found.curve_risk[shown], color=PALETTE[0], linewidth=1.6, label="the surest first")
    axes.axhline(found.full_risk, color="#7b8794", linestyle=":", linewidth=1, label="at random")
    if found.coverage is not None and found.risk is not None:
        axes.plot([found.coverage], [found.risk], "D", color=INK, markersize=4, label=chosen)
    axes.set_ylim(bottom=0)
    axes.legend(loc="best", fontsize=7)


def group_tables(details: Details) -> list[Table]:
    """AUROC by group, one table per column."""
    tables = []
    for column, title in COLUMNS.items():
        rows = []
        for found in details.groups:
            if found.column == column:
                figures = [number(found.auroc), interval(found.interval)] if not found.reason else ["not evaluable", found.reason]
                rows.append([found.value, found.label, number(found.patients), number(found.clips), number(found.positives), *figures])
        if rows:
            tables.append(
                Table(
                    f"By {title[0].lower()}{title[1:]}", [title, "Label", "Patients", "Clips", "Positive", "AUROC", "95 % interval"], rows
                )
            )
    return tables

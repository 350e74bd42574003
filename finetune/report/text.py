"""How figures are written for a person, on the page and on the terminal."""

from collections.abc import Sequence

from common.page.page import MISSING, number
from finetune.evaluation.metrics.per_fold import per_fold_table
from finetune.evaluation.result import Evaluation


def interval(value: tuple[float, float] | None) -> str:
    """A 95 % interval, low to high."""
    return MISSING if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def summary_line(evaluation: Evaluation) -> str:
    """The one sentence that answers "how good is it?"."""
    mean, deviation = evaluation.spread()
    if not evaluation.scored:
        return "Macro AUROC is not defined: these folds can evaluate none of the classes."
    if evaluation.pooled.macro["auroc"] is None:
        return f"Macro AUROC over {' and '.join(evaluation.scored)} is not defined: a label has clips of one class only."
    figure = f"Macro AUROC over {' and '.join(evaluation.scored)}: {number(evaluation.pooled.macro['auroc'])}"
    between = f"(95 % interval {interval(evaluation.intervals.macro)})"
    if len(evaluation.folds) == 1:
        return f"{figure} on the held-out clips {between}."
    return (
        f"{figure} pooled out of fold {between}, {number(mean['macro_auroc'])} ± {number(deviation['macro_auroc'])} "
        f"mean and standard deviation over {len(evaluation.folds)} folds."
    )


def fold_rows(evaluation: Evaluation, columns: Sequence[str]) -> list[list[str]]:
    """The rows of `per_fold_table` (folds, mean, sd, pooled), these columns of it, written for a person."""
    table = per_fold_table(evaluation)[list(columns)].astype(object)
    rows = table.where(table.notna(), None).to_numpy().tolist()
    return [[value if isinstance(value, str) else number(value) for value in row] for row in rows]


def per_fold_text(evaluation: Evaluation) -> list[str]:
    """The per-fold table for a terminal, then the notes and the summary: one string per line."""
    head = {"fold": "fold", "patients": "patients", "annotated_clips": "clips", "macro_auroc": "macro_auroc"}
    head |= {f"auroc_{label}": f"auroc_{label}" for label in evaluation.predictions.labels}
    head |= {name: name for name in ("macro_f1", *evaluation.classes.headlines)}
    rows = [list(head.values()), *fold_rows(evaluation, list(head))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [*lines, *evaluation.notes(), summary_line(evaluation)]

"""The analysis of errors of packaged predictions: a page of tables, the list of likely label errors, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.lungs.datasets import WHEEZE_CRACKLE
from benchmarks.lungs.failing_groups import FIGURES, failing_groups
from benchmarks.lungs.failing_records import concentration, failing_patients, label_errors, worst_records
from benchmarks.lungs.failures_picture import draw
from benchmarks.lungs.figures import cell
from benchmarks.lungs.packaged import seeds_of, unpacked
from common.files import write_csv, write_text
from finetune.evaluation.metrics.by_group import MIN_PATIENTS
from finetune.evaluation.result import Evaluation
from finetune.evaluation.summary import evaluate

RECIPE, TASK = "strongest", "wheeze_crackle"
PATIENTS, RECORDS = 10, 20
ANNOTATED = {"0": "absent", "1": "present"}
PAGE, PICTURE, DOUBTED = "failures.md", "failures.svg", "label_errors.csv"


def write_failures(package: pd.DataFrame, folder: Path, resamples: int) -> list[Path]:
    """Write `PAGE`, `PICTURE` and `DOUBTED` of the strongest recipe on wheeze and crackle into ``folder``, and name them."""
    evaluations = evaluations_of(package)
    groups = failing_groups(package, evaluations, resamples)
    doubted = label_errors(package, evaluations)
    write_text(folder / PAGE, page(package, evaluations, groups, doubted))
    write_csv(folder / DOUBTED, doubted)
    draw(groups, folder / PICTURE)
    return [folder / name for name in (PAGE, PICTURE, DOUBTED)]


def evaluations_of(package: pd.DataFrame) -> list[Evaluation]:
    """Of the strongest recipe on wheeze and crackle, one per seed; their own intervals are not used."""
    task = WHEEZE_CRACKLE.task()
    return [evaluate(unpacked(package, RECIPE, TASK, seed, task), task, resamples=1, by_fold=False) for seed in seeds_of(package)]


def page(package: pd.DataFrame, evaluations: Sequence[Evaluation], groups: Sequence[dict[str, Any]], doubted: pd.DataFrame) -> str:
    """The page, Markdown."""
    labels, patients = evaluations[0].predictions.labels, failing_patients(evaluations)
    parts = [
        "# Where the strongest recipe fails",
        "Wheeze and crackle, out of fold; `make quick_verify` writes this page from the packaged predictions. AUROC, sensitivity and "
        f"specificity (thresholds of the other folds) are means over {len(evaluations)} seeds of folds, with 95 % intervals over the "
        "group's patients; `-` is a figure that says nothing of the group, or one of fewer than "
        f"{MIN_PATIENTS} patients with or without the label. Records of poor quality are left out.",
        "A sound is judged on the records that have an event of that type (a record may have several) against all records without the "
        "label; a class without the label against all records with it.",
        f"![AUROC by group]({PICTURE})",
    ]
    for label in labels:
        parts += [f"## {label.capitalize()}", _group_table([row for row in groups if row["label"] == label])]
    parts += ["## Patients", _patient_text(patients)]
    for label in labels:
        parts.append(_patient_table(patients[patients["label"] == label].head(PATIENTS)))
    parts += ["## Likely label errors", _doubted_text(doubted), _record_table(doubted.head(RECORDS), ("probability", "disagreement"))]
    worst = worst_records(package, evaluations[0], RECORDS)
    parts += ["## Worst errors", _worst_text(seeds_of(package)[0]), _record_table(worst, ("probability", "threshold"))]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _group_table(rows: Sequence[dict[str, Any]]) -> str:
    head = ("", "group", "records", "with the label", "patients", *(name.replace("auroc", "AUROC") for name in FIGURES))
    counts = ("of", "name", "records", "positives", "patients")

    def cells(row: dict[str, Any]) -> list[object]:
        return [*(row[name] for name in counts), *(cell(row[name], row[f"{name}_interval"]) for name in FIGURES)]

    return _table(head, [cells(row) for row in rows])


def _patient_text(patients: pd.DataFrame) -> str:
    sentences = [
        f"{label.capitalize()}: {found['wrong']:.0f} wrong records in the mean over the seeds; {found['all_right']} of {found['patients']} "
        f"patients have none in any seed, and {found['half']} patients have half of them."
        for label, found in concentration(patients).items()
    ]
    return " ".join([*sentences, f"The {PATIENTS} with the most:"])


def _patient_table(rows: pd.DataFrame) -> str:
    head = ("label", "patient", "records", "with the label", "wrong", "mean probability")
    return _table(
        head,
        [
            (row.label, row.patient, row.clips, row.positives, f"{row.wrong:.1f}", f"{row.mean_probability:.2f}")
            for row in rows.itertuples(index=False)
        ],
    )


def _doubted_text(doubted: pd.DataFrame) -> str:
    groups = doubted.groupby(["label", "annotated"])
    found = ", ".join(f"{label} annotated {ANNOTATED[str(annotated)]}: {len(rows)}" for (label, annotated), rows in groups)
    return (
        "Annotations that confident learning (`finetune/evaluation/label_errors.py`) doubts in the folds of every seed: candidates to "
        f"listen to again, not corrections. {len(doubted)} in all ({found or 'none'}), in [{DOUBTED}]({DOUBTED}); the first {RECORDS}:"
    )


def _worst_text(seed: int) -> str:
    command = f"python -m finetune report --run RUNS/{RECIPE}-{TASK}-{seed} --examples {RECORDS}"
    return (
        f"Of the folds of seed {seed}, false negatives and false positives of both labels in turn. Their spectrograms and audio are in the "
        f"report of that run, `{command}`, where RUNS is the folder `runs` that the benchmark made."
    )


def _record_table(rows: pd.DataFrame, figures: tuple[str, ...]) -> str:
    cells = [
        [row["label"], ANNOTATED[str(row["annotated"])], row["clip_id"], row["sounds"] or "-", *(f"{row[name]:.2f}" for name in figures)]
        for row in rows.to_dict("records")
    ]
    return _table(("label", "annotated", "record", "sounds annotated", *figures), cells)

"""Which sounds, sites, ages and sexes fail: AUROC, sensitivity and specificity within each, with intervals over patients.

Means over the seeds, as in the table of results, with patients drawn alike for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lungs.datasets import SOUNDS
from finetune.evaluation.intervals.bootstrap import count_groups, patient_weights, percentile_interval, ratio
from finetune.evaluation.metrics.by_group import AGES, COLUMNS, MIN_PATIENTS, describing_columns
from finetune.evaluation.metrics.label_metrics import weighted_auroc
from finetune.evaluation.result import Evaluation

ALL, PRESENT, ABSENT = "All", "Sound", "Without it"
FIGURES = ("auroc", "sensitivity", "specificity")


@dataclass(frozen=True)
class Group:
    """Records that are judged together for one label.

    Attributes:
        of: what the group is of: `ALL`, `PRESENT` (records with one type of the label's sounds, against all records without the label),
            `ABSENT` (records of one class without the label, against all records with it) or a title of
            `finetune.evaluation.metrics.by_group.COLUMNS`.
        name: its value, for example "rhonchi".
        rows: which records are judged, bool [n].
        counted: which of them the group is named after, bool [n].
        figures: of `FIGURES` that say something of these.
    """

    of: str
    name: str
    rows: np.ndarray
    counted: np.ndarray
    figures: tuple[str, ...] = FIGURES


def failing_groups(package: pd.DataFrame, evaluations: Sequence[Evaluation], resamples: int) -> list[dict[str, Any]]:
    """One row per label and group.

    Args:
        package: with the columns ``about`` of its dataset.
        evaluations: of one recipe on the package's records, one per seed.
        resamples: bootstrap draws over patients.

    Returns:
        Rows of ``label``, ``of``, ``name``, ``records``, ``positives``, ``patients``, the `FIGURES` and their ``_interval``. Figures that
        say nothing of the group are None, and so are all of a group that has fewer than `MIN_PATIENTS` patients with the label, or without.
    """
    predictions, rows = evaluations[0].predictions, []
    for column, label in enumerate(predictions.labels):
        truth = predictions.targets[:, column]
        for group in _groups(package, label, truth):
            patients = predictions.group[group.counted]
            row = {"label": label, "of": group.of, "name": group.name, "records": int(group.counted.sum())}
            row |= {"positives": int((truth[group.counted] == 1).sum()), "patients": count_groups(patients)}
            rows.append(row | _figures(group, column, evaluations, resamples))
    return rows


def _groups(package: pd.DataFrame, label: str, truth: np.ndarray) -> Iterator[Group]:
    known, positive, negative = ~np.isnan(truth), truth == 1, truth == 0
    yield Group(ALL, "", known, known)
    for column, sound in SOUNDS.items():
        with_it = positive & (package[column] == 1).to_numpy()
        # Types of the label's own sounds alone: every record with one of another label's may be without this label.
        if (package.loc[known & (package[column] == 1).to_numpy(), label] == 1).all() and with_it.any():
            yield Group(PRESENT, sound, with_it | negative, with_it, ("auroc", "sensitivity"))
    for kind in sorted(set(package.loc[negative, "record_class"]), key=lambda name: (name != "Normal", name)):
        without = negative & (package["record_class"] == kind).to_numpy()
        yield Group(ABSENT, kind, positive | without, without, ("auroc", "specificity"))
    for name, values in describing_columns(package, package).items():
        for value in sorted(set(values) - {""}, key=lambda value: (list(AGES).index(value) if value in AGES else 0, value)):
            rows = known & (values == value).to_numpy()
            yield Group(COLUMNS[str(name)], value, rows, rows)


def _figures(group: Group, column: int, evaluations: Sequence[Evaluation], resamples: int) -> dict[str, Any]:
    predictions, rows = evaluations[0].predictions, group.rows
    truth, of = predictions.targets[rows, column] == 1, predictions.group[rows]
    figures: dict[str, Any] = dict.fromkeys([*FIGURES, *(f"{name}_interval" for name in FIGURES)])
    if min(count_groups(of[truth]), count_groups(of[~truth])) < MIN_PATIENTS:
        return figures
    seeds = [(each.predictions.probabilities[rows, column], each.decisions[rows, column] == 1) for each in evaluations]
    values = _means(truth, seeds, np.ones((1, len(truth))))
    drawn = [_means(truth, seeds, weights) for weights in patient_weights(of, resamples, seed=0)]
    for name in group.figures:
        figures[name] = float(values[name][0])
        figures[f"{name}_interval"] = percentile_interval(np.concatenate([draws[name] for draws in drawn]), count_groups(of))
    return figures


def _means(truth: np.ndarray, seeds: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Figure -> its mean over the seeds under each of the ``weights`` [R, n]; ``seeds`` has probabilities and decisions, [n] each."""
    positives, negatives = weights @ truth, weights @ ~truth
    return {
        "auroc": np.mean([weighted_auroc(truth, scores, weights) for scores, _ in seeds], axis=0),
        "sensitivity": np.mean([ratio(weights @ (truth & decided), positives) for _, decided in seeds], axis=0),
        "specificity": np.mean([ratio(weights @ (~truth & ~decided), negatives) for _, decided in seeds], axis=0),
    }

"""``python -m finetune compare``: are two runs different, or did other patients make the difference?

Runs on the same clips are compared resample by resample: what makes a patient hard for both cancels, which two separate
intervals do not know. Runs that differ in their seed alone are one setting, whose figures are averaged.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import write_csv, write_json
from common.progress import say
from finetune.compare.paired import differences
from finetune.compare.setting import Setting, same_settings
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.intervals.bootstrap import Interval
from finetune.evaluation.metrics.class_scores import TITLES
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.summary import evaluate_predictions
from finetune.evaluation.thresholds.per_label import Rule
from finetune.report.text import interval
from finetune.run_folder import RunFolder, read_run_folder

SHOWN = ("macro_auroc", "macro_average_precision", "macro_f1", *(next(iter(titles)) for titles in TITLES.values()))


def compare(
    runs: list[str],
    out: str = "comparison",
    calibration: Choice = "none",
    resamples: int = 2000,
    seed: int = 0,
    thresholds: Rule | None = None,
) -> dict[str, Any]:
    """Compare runs on the same clips: each difference from the first with its interval over patients.

    Writes comparison.json and comparison.csv: every pooled figure of both, the difference (other minus first), its 95 % interval from
    a bootstrap that draws the same patients for both, and p, twice the share of resamples on the lesser side of 0: small where the
    difference does not depend on which patients were there. Runs that differ in their seed alone count as one setting, the
    figures being means over seeds and their standard deviation given apart.

    Args:
        runs: two or more folders that 'python -m finetune crossval' wrote; the first is what the others are compared with.
        out: folder to write.
        calibration: of the probabilities before decisions, as in 'report'.
        resamples: bootstrap draws over patients.
        seed: of the bootstrap.
        thresholds: what decides, as in 'report'.

    Returns:
        ``settings`` (name -> runs and seeds), ``differences`` (name -> the headline figures' difference, interval and p), and the path
        ``comparison``.

    Raises:
        UserError: a run is missing, there are not two settings, or the runs hold other clips, patients, labels or targets.
    """
    if resamples < 1:
        raise UserError(f"resamples is {resamples}: expected a positive number of bootstrap draws.")
    folders = [read_run_folder(run) for run in runs]
    predictions = [_aligned(folder, folders[0]) for folder in folders]
    for folder, of_run in zip(folders[1:], predictions[1:], strict=True):
        _refuse_other(folders[0], predictions[0], folder, of_run)
    grouped = same_settings(folders)
    if len(grouped) < 2:
        raise UserError(
            f"{', '.join(runs)} {'is one run' if len(runs) < 2 else 'differ in their seed alone'}: expected runs of two or more settings."
        )
    evaluations = [
        evaluate_predictions(
            of_run,
            folder.task,
            thresholds,
            resamples=resamples,
            seed=seed,
            calibration=calibration,
            validation=folder.validation(),
            development=folder.development(),
        )
        for folder, of_run in zip(folders, predictions, strict=True)
    ]
    settings = [
        Setting(
            name=folders[members[0]].path.resolve().name,
            runs=[runs[index] for index in members],
            seeds=[folders[index].record.get("seed") for index in members],
            evaluations=[evaluations[index] for index in members],
        )
        for members in grouped
    ]
    rows = [row for other in settings[1:] for row in differences(settings[0], other)]
    described = [setting.as_json() for setting in settings]
    target = Path(out)
    figures = {
        "settings": described,
        "differences": rows,
        "calibration": calibration,
        "thresholds": thresholds,
        "resamples": resamples,
        "over": "patients" if evaluations[0].predictions.counts()["patients"] is not None else "recordings",
        "groups": evaluations[0].intervals.groups,
        "same_folds": all(np.array_equal(predictions[0].fold, of_run.fold) for of_run in predictions[1:]),
    }
    write_json(target / "comparison.json", figures)
    write_csv(target / "comparison.csv", pd.DataFrame([_flat(row) for row in rows]))
    if not figures["same_folds"]:
        say("The runs were made with other folds: their models trained on other patients, which is part of the difference.")
    for row in rows:
        if row["figure"] in SHOWN and row["difference"] is not None:
            of_seeds = "" if row["sd_over_seeds"] is None else f", standard deviation over seeds {row['sd_over_seeds']:.3f}"
            say(
                f"{row['figure']}: {row['run']} {row['value']:.3f}, {row['reference']} {row['reference_value']:.3f}, difference "
                f"{row['difference']:+.3f} (95 % interval {interval(row['interval'])}), p {_written(row['p'])}{of_seeds}"
            )
    shown = [row for row in rows if row["figure"] in SHOWN]
    return {
        "settings": {of["name"]: {"runs": of["runs"], "seeds": of["seeds"]} for of in described},
        "differences": {
            of.name: {row["figure"]: {key: row[key] for key in ("difference", "interval", "p")} for row in shown if row["run"] == of.name}
            for of in settings[1:]
        },
        "comparison": str(target / "comparison.json"),
    }


def _aligned(folder: RunFolder, first: RunFolder) -> OutOfFold:
    """The run's predictions in the order of their clips, so that runs can be compared clip by clip."""
    folder.refuse_other_task(first)
    found = folder.out_of_fold()
    return found.take(np.argsort(found.table["clip_id"].to_numpy(str), kind="stable"))


def _refuse_other(first: RunFolder, one: OutOfFold, folder: RunFolder, other: OutOfFold) -> None:
    mine, theirs = set(one.table["clip_id"]), set(other.table["clip_id"])
    if mine != theirs:
        example = sorted(mine ^ theirs)[0]
        raise UserError(
            f"{folder.path} and {first.path} predicted other clips ({len(mine ^ theirs)} are in one only, {example!r} among them): "
            "expected finished runs on one manifest."
        )
    for what, differs in (
        ("patient", one.group != other.group),
        ("target", ~((one.targets == other.targets) | (np.isnan(one.targets) & np.isnan(other.targets))).all(axis=1)),
    ):
        if differs.any():
            example = one.table["clip_id"][int(np.flatnonzero(differs)[0])]
            raise UserError(
                f"{folder.path} and {first.path} have another {what} for {int(differs.sum())} clips, {example!r} among them: "
                "expected runs on one manifest."
            )


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    between: Interval = row["interval"]
    low, high = between if between is not None else (None, None)
    return {**{key: value for key, value in row.items() if key != "interval"}, "low": low, "high": high}


def _written(p: float | None) -> str:
    return "-" if p is None else f"{p:.3g}"

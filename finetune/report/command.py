"""``python -m finetune report``: judge a run by its out-of-fold predictions and write the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import write_csv, write_json, write_text
from common.progress import say
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.thresholds.per_label import Rule, check_share


def report(
    run: str,
    out: str | None = None,
    thresholds: Rule | None = None,
    sensitivity: float | None = None,
    calibration: Choice = "none",
    abstain: float = 0.9,
    manifest: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    examples: int = 20,
) -> dict[str, Any]:
    """Judge a cross-validation run by its out-of-fold predictions: write a page and the tables behind it.

    Writes report.html (one file, opens without network), metrics.json, per_fold.csv, per_patient.csv, label_errors.csv (annotations
    that the networks contradict most), thresholds.json (from all folds, for the export) and predictions.csv (every held-out clip,
    decided by the thresholds of the other folds).

    Args:
        run: folder that 'python -m finetune crossval' wrote.
        out: folder for the report; 'report' inside the run's folder by default.
        thresholds: what each label's threshold maximises: "youden" (sensitivity + specificity - 1; weighs both errors alike
            and does not move with the prevalence), "f1" (ignores true negatives and follows the prevalence), "score" (the score of the
            task's challenge, where a clip has exactly one of the labels), "normal" (the same by the normal class's threshold against one
            for all others), or "equal", the same for all. By default "equal" where a clip
            has exactly one of the labels, so that the most probable is decided, else "youden".
        sensitivity: choose each label's threshold as the highest that finds this share of its positive clips, in place of 'thresholds'.
        calibration: calibrate before thresholds are chosen and anything is judged: "none", "temperature", "platt" or "isotonic"
            (fitted on the other folds' predictions), or "fold_platt" (on each fold's own validation clips). The page shows all.
        abstain: the abstain band's lower end keeps this sensitivity, its upper end this specificity; of three and more classes that
            exclude each other, the limit of the highest probability keeps this share of the decided clips right.
        manifest: adds the listed device, native sample rate, age and sex to the groups, and says where the audio of the worst errors
            is; that of the run by default, where it is still there.
        resamples: bootstrap draws over patients for the 95 % intervals; 1000 settles the second decimal.
        seed: of the bootstrap.
        examples: how many of the worst errors the page shows, with spectrogram and audio; 0 leaves them out.

    Returns:
        The headline figures, pooled out of fold unless a name says _mean, _sd (over folds) or _ci (95 % interval), and the
        page's path.

    Raises:
        UserError: the run's folder is missing or incomplete, or its predictions cannot be evaluated.
    """
    if resamples < 1:
        raise UserError(f"resamples is {resamples}: expected a positive number of bootstrap draws.")
    if examples < 0:
        raise UserError(f"examples is {examples}: expected how many of the worst errors the page shall show, 0 for none.")
    check_share("sensitivity", sensitivity)
    check_share("abstain", abstain)
    # Late: sklearn, matplotlib and torch take seconds to import, which --help should not.
    from finetune.evaluation.calibration.cross_fit import Calibration
    from finetune.evaluation.details import detail
    from finetune.evaluation.metrics.per_fold import per_fold_table
    from finetune.evaluation.summary import evaluate_predictions
    from finetune.report.best_epoch import best_epoch_json, best_epoch_text, read_best_epoch
    from finetune.report.clip_details import clip_details
    from finetune.report.page import render
    from finetune.report.text import per_fold_text
    from finetune.run_folder import read_run_folder

    folder = read_run_folder(run)
    predictions = folder.out_of_fold()
    validation = folder.validation()
    if "transfer" in folder.record and calibration != "none":
        raise UserError(
            f"{run} is another run judged on a second manifest, whose clips calibrate nothing: give --calibration to 'python -m finetune "
            "transfer', which fits it on the run's own predictions."
        )
    evaluation = evaluate_predictions(
        predictions, folder.task, thresholds, resamples, seed, sensitivity, calibration, validation, folder.development()
    )
    if folder.calibrated != "none":
        evaluation = replace(evaluation, calibration=Calibration(folder.calibrated, {}, {}))
    clips = folder.manifest(manifest)
    details = detail(folder.uncalibrated() or predictions, evaluation, validation, clips, abstain, resamples, seed)
    of_clips = clip_details(evaluation, clips, examples, folder.record.get("sample_rate"))
    choices = read_best_epoch(folder, predictions, resamples, seed)
    page = render(folder, evaluation, details, of_clips, choices)
    target = Path(out) if out is not None else folder.path / "report"
    write_json(
        target / "metrics.json", {**evaluation.as_json(), **details.as_json(), **of_clips.as_json(), "best_epoch": best_epoch_json(choices)}
    )
    write_csv(target / "per_fold.csv", per_fold_table(evaluation))
    write_csv(target / "per_patient.csv", of_clips.patients)
    write_csv(target / "label_errors.csv", of_clips.label_errors)
    write_json(target / "thresholds.json", evaluation.thresholds.as_json())
    write_csv(target / "predictions.csv", evaluation.decided_table())
    write_text(target / "report.html", page)
    for line in [*per_fold_text(evaluation), *best_epoch_text(choices)]:
        say(line)
    return {**evaluation.figures(), "report": str(target / "report.html")}

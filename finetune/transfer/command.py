"""``python -m finetune transfer``: predict another manifest with a run's models and judge it by thresholds of the run."""

from pathlib import Path
from typing import Any

from common.errors import UserError
from finetune.evaluation.calibration.choice import Choice


def transfer(
    run: str,
    manifest: str,
    out: str,
    trained_on: str | None = None,
    store: str | None = None,
    allow_leaks: str | None = None,
    near_duplicates: bool = True,
    batch_size: int = 32,
    resamples: int = 1000,
    calibration: Choice = "none",
) -> dict[str, Any]:
    """Judge a run on a manifest that it was not trained on: train here, test there.

    The probabilities of all folds' models are averaged, as the exported file does. Calibration and thresholds come from the run's own
    out-of-fold predictions, never from the new clips. Writes a folder like that of a run with one fold, and its report.

    Args:
        run: folder that 'python -m finetune crossval' wrote.
        manifest: the clips to judge, with the run's labels, and its metadata columns where its networks take some.
        out: folder to write.
        trained_on: the run's own manifest, to which the new one is compared; by default where run.json says it is.
        store: folder of the waveform store of both manifests; 'store' beside ``manifest`` by default. What it lacks is decoded.
        allow_leaks: allow-list, CSV file with the columns code, item, other and reason; patients, recordings or audio in both
            manifests are refused unless it names them.
        near_duplicates: look for the same sound in another form too, not only for equal samples.
        batch_size: clips per batch.
        resamples: bootstrap draws over patients for the report's 95 % intervals.
        calibration: calibrate each fold's model before they are averaged, as 'export' does: "none", "temperature", "platt" or
            "isotonic" (fitted on the run's out-of-fold predictions), or "fold_platt" (on its folds' own validation clips).

    Returns:
        The headline figures of the report and its path.

    Raises:
        UserError: the run is unfinished, the manifests share patients, recordings or audio, the new one lacks a metadata column, or
            ``out`` exists.
    """
    # Late: torch takes seconds to import, which --help should not.
    from common.files import write_csv, write_json
    from common.manifest import has_patients
    from common.progress import say
    from common.provenance import provenance
    from common.store.index import store_beside
    from finetune.evaluation.calibration.cross_fit import calibrate
    from finetune.folds.table import HELD_OUT, folds_hash
    from finetune.report.command import report
    from finetune.run_folder import DEVELOPMENT, FOLDS, FORMAT, OUT_OF_FOLD, RECORD, UNCALIBRATED, read_run_folder
    from finetune.transfer.guard import inspect_transfer
    from finetune.transfer.predict import mean_of, open_folds, predict_folds, require_metadata

    target = Path(out)
    if target.exists():
        raise UserError(f"{out} exists already: choose another --out, or remove it.")
    folder = read_run_folder(run)
    task = folder.task
    source = folder.out_of_fold()
    classifiers = open_folds(folder)
    calibrators = calibrate(source, calibration, folder.validation(), task.one_of)
    for note in calibrators.notes:
        say(note)
    table = task.read(manifest)
    inputs = require_metadata(classifiers, table, run, manifest)
    trained = folder.manifest(trained_on)
    if trained is None:
        raise UserError(f"The manifest of {run} is no longer at {folder.record.get('manifest')}: name it by --trained_on.")
    rate = next(iter(classifiers.values())).front_end.sample_rate
    folder_of_store = str(store_beside(manifest, store))
    # Patients and recordings of the run are those of its folds.csv: a part of its manifest may have been trained on.
    trained = trained[trained["clip_id"].isin(folder.folds["clip_id"])]
    if len(trained) < len(folder.folds):
        raise UserError(
            f"The run's manifest has {len(trained)} of the {len(folder.folds)} clips of {run}: it cannot be told what was trained on; name "
            "the manifest of the run by --trained_on."
        )
    verdict = inspect_transfer(folder, trained, table, folder_of_store, rate, near_duplicates, allow_leaks)
    verdict.speak()
    verdict.refuse("--allow_leaks")
    predicted = predict_folds(classifiers, manifest, folder_of_store, batch_size)
    folds = table[["clip_id", "recording", "patient"]].assign(fold=0, role_0=HELD_OUT)
    kept = ("task", "sample_rate", "clip_s", "encoder", "seed")
    write_csv(target / FOLDS, folds)
    write_csv(target / OUT_OF_FOLD, mean_of(predicted, calibrators.exported))
    if calibration != "none":
        write_csv(target / UNCALIBRATED, mean_of(predicted, {}))
    write_csv(target / DEVELOPMENT, calibrators.apply(source).table)
    write_json(
        target / RECORD,
        {
            "format": FORMAT,
            "manifest": manifest,
            **{name: folder.record.get(name) for name in kept},
            "grouped_by": "patient" if has_patients(table) else "recording",
            **provenance(),
            "data_hash": task.data_hash(table, inputs),
            "folds_hash": folds_hash(folds),
            "guard": verdict.as_json(),
            "transfer": {
                "run": str(run),
                "manifest": folder.record.get("manifest"),
                "folds": sorted(classifiers),
                "calibration": calibration,
            },
        },
    )
    return report(out, resamples=resamples)

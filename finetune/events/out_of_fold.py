"""Recordings of a cross-validation, each judged by the network of the fold that held its patient out: nobody is judged by a network
that heard him."""

from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import UserError
from common.progress import say, track
from finetune.evaluation.summary import evaluate_predictions
from finetune.evaluation.thresholds.per_label import Rule
from finetune.events.sources import Source
from finetune.export.folds import ExportedFolds
from finetune.folds.table import NEVER
from finetune.predict.model_file import ModelFile
from finetune.run_folder import RunFolder, read_run_folder


def from_run(run: Path, manifest: str | None = None, thresholds: Rule | None = None) -> list[Source]:
    """The recordings of a run's manifest that a fold holds out, whole, each with that fold's network.

    Thresholds come from the other folds' predictions, as in the report, and those of frames are the mean of what the other folds chose. A
    recording of which the manifest has clips is heard whole, so pauses and breaths without an annotation are heard too.

    Args:
        run: folder of ``finetune crossval``.
        manifest: of the run, where it is no longer at the place that run.json names.
        thresholds: what they maximise on the other folds' clips; None is the task's own choice.

    Raises:
        UserError: the run is not finished or has no networks, its manifest is not there, or the clips of a recording are held out by
            two folds.
    """
    folder = read_run_folder(run)
    held_out = _held_out(folder, manifest)
    # The bootstrap's intervals are of no use here.
    evaluation = evaluate_predictions(folder.out_of_fold(), folder.task, thresholds, resamples=1, validation=folder.validation())
    folds = sorted(set(held_out["fold"]))
    exported = ExportedFolds(folder, evaluation, folds)
    models = {}
    for fold in track(folds, "Opening folds"):
        file, description = exported.assemble([fold])
        of_others = list(evaluation.fold_thresholds[fold].values)
        models[fold] = ModelFile(
            file.eval(), {**description, "thresholds": of_others, "frames": _frames(folder, description, fold)}, folder.task
        )
    rows = zip(held_out["recording"], held_out["path"], held_out["fold"], strict=True)
    return [Source(name, Path(path), models[fold], fold) for name, path, fold in rows]


def _frames(folder: RunFolder, description: dict[str, Any], fold: int) -> dict[str, Any] | None:
    """What the description says of frames, with the thresholds that the other folds chose."""
    frames, of_others = description["frames"], folder.frame_thresholds(but=fold)
    if frames is None or of_others is None:
        return None
    return {**frames, "thresholds": [of_others[label] for label in frames["labels"]]}


def _held_out(folder: RunFolder, manifest: str | None) -> pd.DataFrame:
    """One row per recording that is held out: recording, path, fold."""
    table = folder.manifest(manifest)
    if table is None:
        raise UserError(f"The manifest of {folder.path} is no longer at {folder.record.get('manifest')}: name it by --manifest.")
    fold_of = folder.held_out_by()
    table = table.assign(fold=[fold_of.get(clip, NEVER) for clip in table["clip_id"]])
    folds = table.groupby("recording")["fold"].nunique()
    if (folds > 1).any():
        raise UserError(
            f"Recording {folds.index[folds > 1][0]!r} has clips in two folds of {folder.path}, so that no network is new to all of it: "
            "expected folds of whole patients or recordings."
        )
    recordings = table.drop_duplicates("recording")
    held_out = recordings[recordings["fold"] != NEVER]
    if held_out.empty:
        raise UserError(f"No recording of the manifest of {folder.path} is held out by a fold: name the manifest of the run by --manifest.")
    if len(held_out) < len(recordings):
        say(f"{len(recordings) - len(held_out)} recordings of the manifest are held out by no fold and are left out.")
    if folder.leaking_groups():
        say(f"WARNING: {folder.path} has patients or recordings that a fold holds out and also trains on: they are not new to it.")
    return held_out[["recording", "path", "fold"]]

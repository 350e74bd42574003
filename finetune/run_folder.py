"""A run's folder: the names of its files, and what they say when they are read again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common.described import build
from common.errors import UserError
from common.files import read_csv
from common.manifest import groups, read_manifest
from common.training.run_folder import BEST
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.out_of_fold import OutOfFold, read_out_of_fold
from finetune.evaluation.thresholds.per_label import UNDECIDED
from finetune.folds.table import NEVER
from finetune.tasks.base import Task

FORMAT = "auscult.run/1"
# Of the run.
RECORD, FOLDS, OUT_OF_FOLD, DEVELOPMENT, UNCALIBRATED = "run.json", "folds.csv", "oof.csv", "development.csv", "uncalibrated.csv"
# Of each fold in it.
FOLD, PREDICTIONS, VALIDATED = "fold.json", "predictions.csv", "validation.csv"

# Key of run.json that only such a run has -> what it is and what to give in its place.
WITHOUT_NETWORKS = {
    "classifier": "a baseline without a network: give a run of 'python -m finetune crossval', or of 'baseline' over frames by this version",
    "ensemble": "an ensemble, which has no networks of its own: give one of the runs that it combines",
    "transfer": "another run judged on a second manifest, without networks of its own: give that run",
}


@dataclass(frozen=True)
class RunFolder:
    """A run of ``finetune crossval``.

    Attributes:
        path: the folder.
        record: content of run.json.
        task: the task that the run was trained for.
        folds: folds.csv: clip_id, recording, patient, fold, role_0 ... role_{K-1}, all text.
        fold_records: fold -> content of fold-K/fold.json, for the folds that have one.
    """

    path: Path
    record: dict[str, Any]
    task: Task
    folds: pd.DataFrame
    fold_records: dict[int, dict[str, Any]]

    def out_of_fold(self) -> OutOfFold:
        """Predictions of every clip by the fold that holds it out.

        Raises:
            UserError: the run is not finished, or its table is not one of this task.
        """
        return self._predictions(OUT_OF_FOLD)

    def validation(self) -> dict[int, OutOfFold]:
        """Fold -> predictions of its validation clips by its own model, for the folds that have them."""
        files = {fold: f"fold-{fold}/{VALIDATED}" for fold in self.fold_records}
        return {fold: self._predictions(file) for fold, file in files.items() if (self.path / file).is_file()}

    def development(self) -> OutOfFold | None:
        """Predictions of other clips that thresholds come from, as a run of ``finetune transfer`` keeps them; None elsewhere."""
        return self._predictions(DEVELOPMENT) if (self.path / DEVELOPMENT).is_file() else None

    def uncalibrated(self) -> OutOfFold | None:
        """Predictions as the networks gave them, where `out_of_fold` are calibrated already, see `calibrated`; None elsewhere."""
        return self._predictions(UNCALIBRATED) if (self.path / UNCALIBRATED).is_file() else None

    @property
    def calibrated(self) -> Choice:
        """How `out_of_fold` were calibrated before they were written: by ``finetune transfer --calibration``, or not at all."""
        choice: Choice = (self.record.get("transfer") or {}).get("calibration", "none")
        return choice

    def _predictions(self, file: str) -> OutOfFold:
        return read_out_of_fold(self.path / file, self.task.labels, self.task.poor_quality_counts)

    def manifest(self, path: str | None = None) -> pd.DataFrame | None:
        """The manifest at ``path``, by default that of run.json; None where the latter is no longer there."""
        recorded = str(self.record.get("manifest", ""))
        if path is None and not (recorded and Path(recorded).is_file()):
            return None
        return read_manifest(path or recorded)

    def checkpoint(self, fold: int) -> Path:
        """File with the weights of a fold's chosen epoch."""
        return self.path / f"fold-{fold}" / BEST

    def refuse_other_task(self, first: "RunFolder") -> None:
        """Refuse to join a run with another task than that of ``first``."""
        if any(getattr(self.task, name) != getattr(first.task, name) for name in ("labels", "scored", "one_of", "class_scores")):
            raise UserError(
                f"{self.path} has labels {', '.join(self.task.labels)} and {first.path} {', '.join(first.task.labels)}: "
                "expected runs of one task."
            )

    def require_networks(self) -> None:
        """Refuse a run whose folds have no network.

        Raises:
            UserError: it is a baseline of another kind than over frames, an ensemble, or what ``finetune transfer`` wrote.
        """
        for key, what in WITHOUT_NETWORKS.items():
            if key in self.record and not any(self.checkpoint(fold).is_file() for fold in self.fold_records):
                raise UserError(f"{self.path} is {what}.")

    def frame_thresholds(self, but: int | None = None) -> dict[str, float] | None:
        """Event -> from which probability on a frame holds it: the mean of what the folds chose on the frames that they held out.

        Args:
            but: fold whose own choice is left out, so that its frames can be judged; none by default.

        Returns:
            One for each event that the frames were taught; where all folds but this one could choose none it is that of an undecided
            label. None where the run says nothing of frames, or no fold could choose one for some event.
        """
        chosen = {fold: record["frames"] for fold, record in self.fold_records.items() if record.get("frames")}
        if not chosen or len(chosen) < len(self.fold_records):
            return None
        by_label = {
            label: {fold: of_fold[label]["threshold"] for fold, of_fold in chosen.items() if of_fold[label]["threshold"] is not None}
            for label in next(iter(chosen.values()))
        }
        if not all(by_label.values()):
            return None
        others = {label: [value for fold, value in of_label.items() if fold != but] for label, of_label in by_label.items()}
        return {label: sum(values) / len(values) if values else UNDECIDED for label, values in others.items()}

    def role_columns(self) -> dict[int, str]:
        """Fold -> its column of roles (train, validation, held_out)."""
        names = [name for name in self.folds.columns if name.startswith("role_")]
        return {int(name.removeprefix("role_")): name for name in names}

    def held_out_by(self) -> dict[str, int]:
        """Clip -> the fold that holds it out, for the clips that have one."""
        folds = {clip: int(fold) for clip, fold in zip(self.folds["clip_id"], self.folds["fold"], strict=True)}
        return {clip: fold for clip, fold in folds.items() if fold != NEVER}

    def clips_by_role(self, fold: int, role: str) -> int | None:
        """How many clips have a role in a fold; None where folds.csv does not know the fold."""
        column = self.role_columns().get(fold)
        return None if column is None else int((self.folds[column] == role).sum())

    def leaking_groups(self) -> dict[int, list[str]]:
        """Fold -> patients (or recordings) that are held out and also trained or validated on; a sound run has none."""
        group = groups(self.folds)
        leaks = {}
        for fold, column in self.role_columns().items():
            held_out = self.folds[column] == "held_out"
            seen = self.folds[column].isin(("train", "validation"))
            shared = sorted(set(group[held_out]) & set(group[seen]))
            if shared:
                leaks[fold] = shared
        return leaks


def read_run_folder(path: str | Path) -> RunFolder:
    """Read a run's folder.

    Raises:
        UserError: there is no such folder, a file of it is missing, or run.json is not one of crossval's.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"No run at {path}: expected the folder that 'python -m finetune crossval --out' wrote.")
    if not (path / RECORD).is_file():
        raise UserError(f"{path} has no run.json: expected the folder that 'python -m finetune crossval --out' wrote.")
    record = _read_json(path / RECORD)
    if record.get("format") != FORMAT or not isinstance(record.get("task"), dict):
        raise UserError(
            f"{path / 'run.json'} has format {record.get('format')!r} and {'a' if 'task' in record else 'no'} task: "
            f"expected {FORMAT!r} with a task; run 'python -m finetune crossval' again."
        )
    folds = read_csv(path / FOLDS, dtype=str, keep_default_na=False)
    missing = [name for name in ("clip_id", "recording", "patient", "fold") if name not in folds.columns]
    if missing:
        raise UserError(f"{path / 'folds.csv'} has no column {missing[0]!r}: expected the table that 'python -m finetune folds' writes.")
    records = {}
    for file in sorted(path.glob(f"fold-*/{FOLD}")):
        of_fold = _read_json(file)
        if "fold" in of_fold:
            records[int(of_fold["fold"])] = of_fold
    return RunFolder(path, record, build(record["task"], Task), folds, records)  # type: ignore[type-abstract]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): restore it, or run 'python -m finetune crossval' again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}: expected a JSON object; run 'python -m finetune crossval' again.")
    return value

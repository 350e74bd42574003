"""The trained folds of an ensemble's runs, assembled into one file."""

from dataclasses import replace
from typing import Any

import torch

from common.audio.quality import FLAG_NAMES
from common.errors import UserError
from finetune.evaluation.calibration.cross_fit import Calibration
from finetune.evaluation.result import Evaluation
from finetune.export.exported_ensemble import ExportedEnsemble
from finetune.export.file import largest_difference, script
from finetune.export.folds import ExportedFolds
from finetune.export.metadata import metadata
from finetune.metadata import Metadata
from finetune.run_folder import RunFolder, read_run_folder


class ExportedMembers:
    """The best networks of the folds of an ensemble's runs; as `ExportedFolds` otherwise.

    Args:
        run: the ensemble's folder.
        evaluation: of its out-of-fold predictions; gives thresholds, calibration and figures.
        folds: folds to open.

    Raises:
        UserError: a run is no longer there, was made again with other data, takes other metadata than another, or is an ensemble itself.
    """

    def __init__(self, run: RunFolder, evaluation: Evaluation, folds: list[int]) -> None:
        self.run = run
        self.evaluation = evaluation
        # The ensemble is calibrated, not its members.
        uncalibrated = replace(evaluation, calibration=Calibration("none", {}, {}))
        runs = map(self._member, run.record["ensemble"]["runs"])
        self.members = [ExportedFolds(member, uncalibrated, folds, with_frames=False) for member in runs]
        self.metadata = _in_common(self.members)

    def assemble(self, folds: list[int]) -> tuple[torch.jit.ScriptModule, dict[str, Any]]:
        """A compiled file of ``folds``, checked against the eager model, and its description."""
        file = script(self._model(folds, traced=True))
        example = self.metadata.example(3, torch.Generator().manual_seed(0)) if self.metadata is not None else None
        parity = largest_difference(file, self.eager(folds), example)
        labels, calibration = self.run.task.labels, self.evaluation.calibration
        calibrators = {str(fold): calibration.exported[fold].as_json(labels) for fold in folds if fold in calibration.exported}
        description = metadata(
            self.run,
            folds,
            self.evaluation.thresholds.as_json(),
            {"choice": calibration.choice, "folds": calibrators},
            self.evaluation.figures(),
            self.members[0].geometry,
            parity,
            FLAG_NAMES,
            self.metadata,
        )
        members = [{**member.geometry, "encoder": member.encoder, "seed": member.run.record.get("seed")} for member in self.members]
        ensemble = self.run.record["ensemble"]
        description["ensemble"] = {"rule": ensemble["rule"], "combination": ensemble["combination"], "members": members}
        return file, description

    def eager(self, folds: list[int]) -> ExportedEnsemble:
        """The model of ``folds`` as it is before anything is traced or compiled."""
        return self._model(folds, traced=False)

    def _model(self, folds: list[int], traced: bool) -> ExportedEnsemble:
        combination, labels = self.run.record["ensemble"]["combination"], self.run.task.labels
        of_labels = [combination["labels"][label] for label in labels]
        calibrators = self.evaluation.calibration.exported
        return ExportedEnsemble(
            [member.model(folds, traced) for member in self.members],
            on_logits=combination["on"] == "logits",
            weights=torch.tensor([of_label["weights"] for of_label in of_labels], dtype=torch.float64).T,
            offset=torch.tensor([of_label["offset"] for of_label in of_labels], dtype=torch.float64),
            one_of=combination["one_of"],
            thresholds=list(self.evaluation.thresholds.values),
            calibrators=[calibrators[fold] for fold in folds] if calibrators else None,
            metadata_columns=list(self.metadata.columns) if self.metadata is not None else None,
        ).eval()

    def _member(self, path: str) -> RunFolder:
        member = read_run_folder(path)
        if "ensemble" in member.record:
            raise UserError(f"{path}, a member of {self.run.path}, is an ensemble itself, without networks: combine its own runs instead.")
        for name in ("data_hash", "folds_hash"):
            if member.record.get(name) != self.run.record.get(name):
                raise UserError(f"{path} has another {name} than when {self.run.path} was made of it: make the ensemble again.")
        return member


def _in_common(members: list[ExportedFolds]) -> Metadata | None:
    """The metadata that all members take, one row for all of them; None where they take none."""
    first = members[0]
    for member in members[1:]:
        if _row(member.metadata) != _row(first.metadata):
            raise UserError(
                f"{member.run.path} takes the metadata {_row(member.metadata)} and {first.run.path} {_row(first.metadata)}: the members of "
                "one file must read one row alike; train the runs with the same model.metadata."
            )
    return first.metadata


def _row(metadata: Metadata | None) -> dict[str, Any]:
    """Names of the numbers, and of the categories with their values, in the order of a raw row."""
    return {} if metadata is None else {**dict.fromkeys(metadata.numbers), **metadata.vocabularies}

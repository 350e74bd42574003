"""The trained folds of a run, traced once, and any choice of them assembled into one file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.audio.quality import FLAG_NAMES
from common.errors import UserError
from common.training.checkpoint import open_module
from finetune.classifier import Classifier
from finetune.evaluation.result import Evaluation
from finetune.export.exported_model import ExportedModel
from finetune.export.file import largest_difference, script
from finetune.export.frame_events import frame_events
from finetune.export.metadata import metadata
from finetune.export.networks import Framer, Listener, Network, Teller, listen_alike, trace, trace_apart, trace_framer
from finetune.metadata import Metadata
from finetune.run_folder import RunFolder


@dataclass(frozen=True)
class Parts:
    """What an `ExportedModel` is made of.

    Attributes:
        listener: of all folds; None where each has an encoder of its own.
        networks: fold -> what it makes of that.
        framers: fold -> what makes the events of frames of it; empty where the run tells none.
    """

    listener: nn.Module | None
    networks: Mapping[int, nn.Module]
    framers: Mapping[int, nn.Module]


class ExportedFolds:
    """The best networks of a run's folds.

    Args:
        run: the run's folder.
        evaluation: of its out-of-fold predictions; gives thresholds and figures.
        folds: folds to open.
        with_frames: whether the file tells frames too, where the run was taught events of them.

    Raises:
        UserError: the run has no networks, a fold has no checkpoint, or the folds do not take the same windows.
    """

    def __init__(self, run: RunFolder, evaluation: Evaluation, folds: list[int], with_frames: bool = True) -> None:
        run.require_networks()
        self.run = run
        self.evaluation = evaluation
        classifiers = {fold: open_module(run.checkpoint(fold), Classifier) for fold in folds}
        geometries = {fold: _geometry(classifier) for fold, classifier in classifiers.items()}
        self.geometry = geometries[folds[0]]
        for fold, geometry in geometries.items():
            if geometry != self.geometry:
                raise UserError(f"Folds {folds[0]} and {fold} of {run.path} differ in {self.geometry} and {geometry}: train them alike.")
        self.metadata = _in_one_vocabulary(classifiers)
        self.encoder = type(classifiers[folds[0]].encoder).__name__
        self.frames = frame_events(run, classifiers[folds[0]]) if with_frames else None
        self.eager_parts, self.traced_parts = self._parts(classifiers)

    def assemble(self, folds: list[int]) -> tuple[torch.jit.ScriptModule, dict[str, Any]]:
        """A compiled file that averages ``folds``, checked against the eager model, and its description."""
        file = script(self.model(folds, traced=True))
        example = self.metadata.example(3, torch.Generator().manual_seed(0)) if self.metadata is not None else None
        parity = largest_difference(file, self.eager(folds), example)
        thresholds = self.evaluation.thresholds.as_json()
        calibration = self.evaluation.calibration
        calibrators = {
            str(fold): calibration.exported[fold].as_json(self.run.task.labels) for fold in folds if fold in calibration.exported
        }
        calibrated = {"choice": calibration.choice, "folds": calibrators}
        frames = None if self.frames is None else self.frames.as_json()
        description = metadata(
            self.run, folds, thresholds, calibrated, self.evaluation.figures(), self.geometry, parity, FLAG_NAMES, self.metadata, frames
        )
        return file, description

    def eager(self, folds: list[int]) -> ExportedModel:
        """The model of ``folds`` as it is before anything is traced or compiled."""
        return self.model(folds, traced=False)

    def _parts(self, classifiers: Mapping[int, Classifier]) -> tuple["Parts", "Parts"]:
        """Of the eager model and of the traced one; what all folds have in common is there once."""
        networks: dict[int, nn.Module]
        if listen_alike(list(classifiers.values())):
            listener: nn.Module | None = Listener(next(iter(classifiers.values()))).eval()
            networks = {fold: Teller(classifier).eval() for fold, classifier in classifiers.items()}
            traced_listener, traced = trace_apart(classifiers, self._window)
        else:
            listener = traced_listener = None
            networks = {fold: Network(classifier).eval() for fold, classifier in classifiers.items()}
            traced = {fold: trace(classifier, self._window) for fold, classifier in classifiers.items()}
        framers: dict[int, nn.Module] = {}
        if self.frames is not None:
            whole = listener is None
            framers = {fold: (nn.Sequential(Listener(of), Framer(of)) if whole else Framer(of)).eval() for fold, of in classifiers.items()}
        traced_framers = {fold: trace_framer(of, traced_listener, classifiers[fold], self._window) for fold, of in framers.items()}
        return Parts(listener, networks, framers), Parts(traced_listener, traced, traced_framers)

    @property
    def _window(self) -> int:
        return round(self.geometry["clip_s"] * self.geometry["sample_rate"])

    def model(self, folds: list[int], traced: bool) -> ExportedModel:
        """The wrapper round the networks of ``folds``, which are traced (for a file) or eager (to check it)."""
        parts = self.traced_parts if traced else self.eager_parts
        geometry, calibrators = self.geometry, self.evaluation.calibration.exported
        return ExportedModel(
            [parts.networks[fold] for fold in folds],
            labels=list(self.run.task.labels),
            thresholds=list(self.evaluation.thresholds.values),
            sample_rate=geometry["sample_rate"],
            window=self._window,
            hop=round(geometry["hop_s"] * geometry["sample_rate"]),
            short_clips=geometry["short_clips"],
            aggregate=geometry["aggregate"],
            calibrators=[calibrators[fold] for fold in folds] if calibrators else None,
            metadata_columns=list(self.metadata.columns) if self.metadata is not None else None,
            listener=parts.listener,
            framers=[parts.framers[fold] for fold in folds] if self.frames is not None else None,
            frame_labels=self.frames.labels if self.frames is not None else None,
            frame_s=self.frames.frame_s if self.frames is not None else 0.0,
        ).eval()


def _in_one_vocabulary(classifiers: Mapping[int, Classifier]) -> Metadata | None:
    """Let all folds take the codes of one vocabulary, that of all their training clips; None where they take no metadata."""
    streams = [classifier.metadata for classifier in classifiers.values()]
    found = [stream for stream in streams if stream is not None]
    if not found:
        return None
    if len(found) < len(streams) or len({stream.columns for stream in found}) > 1:
        raise UserError("The folds of the run do not take the same metadata columns: train them alike.")
    together = {name: sorted(set().union(*(stream.vocabularies[name] for stream in found))) for name in found[0].categories}
    for classifier, stream in zip(classifiers.values(), found, strict=True):
        classifier.metadata = stream.with_vocabularies(together).eval()
    return next(iter(classifiers.values())).metadata


def _geometry(classifier: Classifier) -> dict[str, Any]:
    rate = classifier.front_end.sample_rate
    return {
        "sample_rate": rate,
        "clip_s": classifier.clip_s,
        "hop_s": classifier.hop_samples / rate,
        "short_clips": classifier.short_clips,
        "aggregate": classifier.aggregate,
    }

"""``python -m finetune baseline``: classical classifiers on pooled features, in the same folds and the same run folder as a network's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pandas as pd

from common.cli import parsing_errors, refuse_arguments
from common.described import build
from common.errors import UserError
from common.manifest import data_hash
from common.store.index import store_beside
from common.training.checkpoint import save_module
from common.training.run_folder import BEST
from common.training.tracking import Tracking
from finetune.baseline.annotated_events import read_events
from finetune.baseline.cache import clip_features
from finetune.baseline.classifiers import BaselineClassifier, SklearnClassifier
from finetune.baseline.features import Features
from finetune.baseline.fold import FoldModel, fit_fold
from finetune.baseline.frame_features import FrameFeatures
from finetune.baseline.frame_model import FrameModel
from finetune.baseline.frame_network import FrameNetwork
from finetune.baseline.frames import Frames, frames_of
from finetune.baseline.model import BaselineModel
from finetune.baseline.resampling import Resampling
from finetune.crossval.options import own_options
from finetune.crossval.plan import Plan, plan_run
from finetune.crossval.run import run_folds
from finetune.folds.table import TRAIN, VALIDATION
from finetune.tasks.base import Task

PROG = "python -m finetune baseline"


@dataclass
class BaselineData:
    """The clips.

    Attributes:
        manifest: CSV or Parquet file from ``common manifest`` or ``common audit``.
        folds: CSV file from ``finetune folds``.
        store: folder of the waveform store, which keeps the features too; ``store`` beside the manifest by default.
        events: manifest of annotated events, for a network over frames to learn from.
        fit_validation: fit on the validation clips too, since a classifier that chooses nothing on them can do without; no
            ``validation.csv`` is written then.
        transductive: as ``--transductive``.
        allow_leaks: as ``--allow-leaks``.
    """

    manifest: str
    folds: str
    store: str | None = None
    events: str | None = None
    fit_validation: bool = False
    transductive: bool = False
    allow_leaks: str | None = None


@dataclass
class BaselineParts:
    """What is fitted.

    Attributes:
        task: labels with their meaning.
        features: what is computed of each clip.
        classifier: what is fitted to them.
        resampling: of the training clips; none by default.
    """

    task: Task
    features: Features
    classifier: BaselineClassifier
    resampling: Resampling | None = None


def baseline(args: Sequence[str]) -> dict[str, Any]:
    """Fit and predict every fold; ``args`` are those of the command line.

    Returns:
        What `finetune.crossval.command.crossval` does; minutes are those of fitting, without the features.

    Raises:
        UserError: data, folds or encoder do not fit, the encoder leaks, or the run folder holds another run.
        SystemExit: the arguments are wrong (2), or only help was asked for (0).
    """
    own, rest = own_options(args, PROG)
    if own.search:
        raise UserError(f"{PROG} has no settings of a search, which are those of networks: leave out --search.")
    config = parse(rest)
    model, data = config["model"], config["data"]
    settings = model["features"]["init_args"]
    if settings.get("encoder_file"):
        raise UserError(f"{PROG} takes an encoder file by --encoder, which checks every fold for leaks: move encoder_file there.")
    if own.encoder and "encoder_file" not in settings:
        raise UserError(f"{PROG} was given --encoder, but its features are {model['features']['class_path']}: take EncoderFeatures.")
    classifier = build(model["classifier"], BaselineClassifier)
    network = classifier if isinstance(classifier, FrameNetwork) else None
    if network is None and data["events"]:
        raise UserError(
            f"--data.events teaches a network over frames (finetune.baseline.frame_network.FrameNetwork), and the classifier is "
            f"{type(classifier).__name__}: leave the events out, or take configs/baseline_events.yaml."
        )
    if network is not None and model["resampling"]:
        raise UserError("A network over frames takes its clips as they are: leave --model.resampling out.")
    made_of = {name: model[name] for name in ("features", "classifier", "resampling")}
    # The file may hold what the config leaves out; until it is opened only the class is known.
    plan = plan_run(own, config, settings.get("front_end"), settings.get("clip_s"), **made_of)
    events = None
    if network is not None and data["events"]:
        events = read_events(data["events"], network.events, plan.table)
        plan = replace(plan, more={**plan.more, "events_hash": data_hash(events, network.events)})
    return run_folds(plan, _Folds(plan, classifier, store_beside(data["manifest"], data["store"]), events))


@dataclass
class _Folds:
    """Fits one fold after the other; what does not differ between folds is made once.

    Attributes:
        plan: of the run.
        classifier: what is fitted.
        store: folder of the waveform store.
        events: annotated, which teach the frames of a clip; None where there are none.
    """

    plan: Plan
    classifier: BaselineClassifier
    store: str | Path
    events: pd.DataFrame | None
    _computed: dict[Path | None, tuple[Features, np.ndarray | Frames]] = field(default_factory=dict, init=False)

    def __call__(self, fold: int) -> None:
        plan, model, folder = self.plan, self._model(), self.plan.run / f"fold-{fold}"
        role, roles = plan.folds[f"role_{fold}"], [TRAIN, VALIDATION] if plan.config["data"]["fit_validation"] else [TRAIN]
        features, computed = self._features(fold)
        keep = None
        if isinstance(model, FrameModel) and isinstance(features, FrameFeatures):
            keep = partial(_keep, model, features, folder)
        fit_fold(model, computed, plan.table, role, role.isin(roles).to_numpy(), fold, folder, keep)

    def _model(self) -> FoldModel:
        resampling, seed = self.plan.config["model"]["resampling"], self.plan.config["seed_everything"]
        if isinstance(self.classifier, FrameNetwork):
            return FrameModel(self.plan.task, self.classifier, seed)
        assert isinstance(self.classifier, SklearnClassifier), "there are two kinds"
        return BaselineModel(self.plan.task, self.classifier, build(resampling, Resampling) if resampling else None, seed)

    def _features(self, fold: int) -> tuple[Features, np.ndarray | Frames]:
        """What computes them, and those of every clip, [n, D] or frame by frame; by the fold's own encoder file where there is one."""
        file = self.plan.encoder.file(fold)
        if file not in self._computed:
            description, table = self.plan.config["model"]["features"], self.plan.table
            if file is not None:
                description = {**description, "init_args": {**description["init_args"], "encoder_file": str(file)}}
            features = _built(description, self.plan.config["seed_everything"])
            if isinstance(features, FrameFeatures) and isinstance(self.classifier, FrameNetwork):
                found = clip_features(features, self.store, table)
                self._computed = {file: (features, frames_of(features, found, self.store, table, self.events, self.classifier))}
            elif isinstance(features, FrameFeatures) or isinstance(self.classifier, FrameNetwork):
                raise UserError(
                    f"The classifier {type(self.classifier).__name__} is given {type(features).__name__}: a network over frames needs "
                    "FrameFeatures (finetune.baseline.frame_features), and nothing else takes them."
                )
            else:
                self._computed = {file: (features, np.stack(clip_features(features, self.store, table)))}
        return self._computed[file]


def _keep(model: FrameModel, features: FrameFeatures, folder: Path) -> None:
    save_module(folder / BEST, model.classifier(features))


def _built(description: dict[str, Any], seed: int) -> Features:
    """Built under ``seed``, so that a network without weights is the same one each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(description, Features)


def parse(args: Sequence[str]) -> dict[str, Any]:
    """The resolved config as plain values, without making any object."""
    parser = jsonargparse.ArgumentParser(prog=PROG, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action="config", help="YAML file with any of these options")
    parser.add_argument("--seed_everything", type=int, default=0, help="of everything drawn")
    parser.add_argument("--out", type=str, default="runs/baseline", help="run folder")
    parser.add_argument("--model", type=BaselineParts)
    parser.add_argument("--data", type=BaselineData)
    parser.add_argument("--tracking", type=Tracking, default=Tracking(wandb="disabled"))
    try:
        parsed = parser.parse_args(list(args))
    except parsing_errors() as error:
        refuse_arguments(PROG, error)
        raise
    config = json.loads(parser.dump(parsed, format="json", skip_unset=False))
    return {key: value for key, value in config.items() if key != "config"}

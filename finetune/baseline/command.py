"""``python -m finetune baseline``: classical classifiers on pooled features, in the same folds and the same run folder as a network's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np

from common.cli import parsing_errors, refuse_arguments
from common.described import build
from common.errors import UserError
from common.manifest import data_hash, groups
from common.store.index import store_beside
from common.training.run_folder import finished
from common.training.tracking import Tracking
from finetune.baseline.annotated_events import read_events
from finetune.baseline.cache import clip_features
from finetune.baseline.classifiers import BaselineClassifier
from finetune.baseline.event_detector import EventDetector
from finetune.baseline.features import Features
from finetune.baseline.fold import fit_fold
from finetune.baseline.model import BaselineModel
from finetune.baseline.resampling import Resampling
from finetune.baseline.taught import taught_features
from finetune.baseline.window_features import WindowFeatures
from finetune.baseline.windows import Teaching, Windows
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
        events: manifest of annotated events, for a detector to learn from.
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
        detector: what learns from annotated events which windows of a clip hold one, where the features are of windows; the classifier is
            then fitted to what it says of each clip. None by default.
        resampling: of the training clips; none by default.
    """

    task: Task
    features: Features
    classifier: BaselineClassifier
    detector: EventDetector | None = None
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
    if (model["detector"] is None) != (data["events"] is None):
        raise UserError(
            "A detector (--model.detector) learns from annotated events (--data.events, a manifest of them), and nothing else does: "
            "give both or neither."
        )
    made_of = {name: model[name] for name in ("features", "detector", "classifier", "resampling")}
    # The file may hold what the config leaves out; until it is opened only the class is known.
    plan = plan_run(own, config, settings.get("front_end"), None, **made_of)
    teaching = None
    if model["detector"]:
        detector = build(model["detector"], EventDetector)
        teaching = Teaching(detector, read_events(data["events"], detector.labels, plan.table))
        plan = replace(plan, more={**plan.more, "events_hash": data_hash(teaching.events, detector.labels)})
    return run_folds(plan, _Folds(plan, store_beside(data["manifest"], data["store"]), teaching))


@dataclass
class _Folds:
    """Fits one fold after the other; what does not differ between folds is made once.

    Attributes:
        plan: of the run.
        store: folder of the waveform store.
        teaching: what a detector learns from; None where there is no detector.
    """

    plan: Plan
    store: str | Path
    teaching: Teaching | None
    _computed: dict[Path | None, np.ndarray | Windows] = field(default_factory=dict, init=False)

    def __call__(self, fold: int) -> None:
        model, plan = self.plan.config["model"], self.plan
        folder, seed = plan.run / f"fold-{fold}", plan.config["seed_everything"]
        if finished(folder) is not None:
            return
        role = plan.folds[f"role_{fold}"]
        learns = role.isin([TRAIN, VALIDATION] if plan.config["data"]["fit_validation"] else [TRAIN]).to_numpy()
        features = self._features(fold)
        if isinstance(features, Windows):
            assert self.teaching is not None, "windows are made by it"
            features = taught_features(self.teaching.detector, features, learns, groups(plan.table).to_numpy(str), seed)
        fitted = BaselineModel(
            plan.task,
            build(model["classifier"], BaselineClassifier),
            build(model["resampling"], Resampling) if model["resampling"] else None,
            seed,
        )
        fit_fold(fitted, features, plan.table, role, learns, fold, folder)

    def _features(self, fold: int) -> np.ndarray | Windows:
        """Of every clip, [n, D], or the windows of all; as the fold's own encoder file has them where there is one."""
        file = self.plan.encoder.file(fold)
        if file not in self._computed:
            description, table = self.plan.config["model"]["features"], self.plan.table
            if file is not None:
                description = {**description, "init_args": {**description["init_args"], "encoder_file": str(file)}}
            features = _built(description, self.plan.config["seed_everything"])
            if isinstance(features, WindowFeatures) and self.teaching is not None:
                found = clip_features(features, self.store, table)
                self._computed = {file: self.teaching.windows(features, found, self.store, table)}
            elif isinstance(features, WindowFeatures) or self.teaching is not None:
                raise UserError(
                    f"The features are {type(features).__name__} and there is {'a' if self.teaching else 'no'} detector: a detector "
                    "(--model.detector) needs windows (finetune.baseline.window_features.WindowFeatures), and nothing else takes them."
                )
            else:
                self._computed = {file: np.stack(clip_features(features, self.store, table))}
        return self._computed[file]


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

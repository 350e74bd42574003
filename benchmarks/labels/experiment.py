"""The runs behind the curve: one pretraining per seed and SimCLR start, one fine-tuning per point, all through the packages' commands."""

import argparse
import json
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.commands import call
from benchmarks.labels.starts import Start
from benchmarks.labels.subsets import LABELS, SCORED, annotated, choose, with_labels_of
from common.files import sha256_file
from common.manifest import data_hash, read_manifest, write_manifest
from common.training.run_folder import claim, finished
from finetune.evaluation.metrics.label_metrics import auroc
from finetune.evaluation.out_of_fold import OutOfFold, read_out_of_fold
from finetune.folds.table import read_folds
from finetune.run_folder import FOLD, PREDICTIONS

# Of the fine-tuning steps: over which the learning rate rises.
WARMUP_SHARE = 0.1
# Fine-tuning wants validation patients, but here they choose nothing: few are taken from training.
VALIDATION_SHARE = 0.05


class Experiment:
    """The run folders of one benchmark under ``options.out``; a folder that holds a finished run is never trained again.

    Args:
        options: see `benchmarks.label_efficiency`.

    Raises:
        UserError: manifest or weights cannot be read, or the folder holds a benchmark of other settings or other data.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.table = read_manifest(options.manifest, LABELS)
        claim(options.out, self._settings())
        self.folds_path = options.out / "folds.csv"
        if not self.folds_path.is_file():
            how = ("--num_folds", options.num_folds, "--labels", ",".join(LABELS), "--validation_share", VALIDATION_SHARE)
            call("finetune", "folds", "--manifest", options.manifest, "--out", self.folds_path, *how)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """Roles of the manifest's rows, see `read_folds`."""
        return read_folds(self.folds_path, self.table)

    def pretrained(self, seed: int, start: Start) -> Path:
        """Where the encoder of a SimCLR start is or will be."""
        return self._seed_folder(seed) / f"pretrain-{start.name}" / "encoder.pt"

    def pretrain(self, seed: int, start: Start) -> None:
        """Pretrain on all patients but those that the seed's fold holds out."""
        call(
            "pretrain",
            "fit",
            *("-c", self.options.pretrain_config, "--out", self.pretrained(seed, start).parent),
            *("--data.manifest", self.options.manifest, "--data.validation_share", 0),
            *("--data.exclude_folds", self.folds_path, "--data.exclude_fold", self.fold(seed)),
            *("--data.batch_size", self.options.pretrain_batch, "--trainer.max_epochs", self.options.pretrain_epochs),
            *("--model.warmup_epochs", WARMUP_SHARE * self.options.pretrain_epochs),
            *self._common(seed),
            *start.pretrain_options(self.options.weights),
        )

    def finetune(self, seed: int, start: Start, share: float) -> None:
        """Fine-tune on the labels of ``share`` percent of the training patients and predict the held-out ones.

        A fixed number of steps for every start and share, and the weights after the last one: no label outside the share chooses
        anything. ``fit`` is made to validate once, after the last step, which is the epoch that it then takes for the best.
        """
        manifest = self._seed_folder(seed) / f"labels-{share:g}.csv"
        subset = choose(self.table, self._role(seed), share, seed)
        write_manifest(manifest, with_labels_of(self.table, self._role(seed), subset.patients))
        steps = self.options.finetune_steps
        encoder = self.pretrained(seed, start) if start.simclr else None
        with warnings.catch_warnings():
            # Of a checkpoint that waits for the one validation.
            warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")
            call(
                "finetune",
                "fit",
                *("-c", self.options.finetune_config, "--out", self._run(seed, start, share)),
                *("--data.manifest", manifest, "--data.folds", self.folds_path, "--data.fold", self.fold(seed)),
                *("--data.batch_size", self.options.finetune_batch, "--model.hop_s", self.options.clip_s),
                # An epoch has at least one step: the steps end the run, and the warm-up is a share of both.
                *("--trainer.max_epochs", steps, "--trainer.max_steps", steps, "--model.warmup_epochs", WARMUP_SHARE * steps),
                *("--trainer.val_check_interval", steps, "--trainer.check_val_every_n_epoch", "null"),
                *self._common(seed),
                *start.finetune_options(self.options.weights, encoder),
            )

    def fold(self, seed: int) -> int:
        """The fold whose patients a seed holds out: over as many seeds as folds, every patient once."""
        return seed % self.options.num_folds

    def is_done(self, seed: int, start: Start, share: float | None = None) -> bool:
        """Whether a point, or a start's pretraining where no share is given, has nothing left to train."""
        if share is None:
            return finished(self.pretrained(seed, start).parent) is not None
        return bool(choose(self.table, self._role(seed), share, seed).lacks) or finished(self._run(seed, start, share)) is not None

    def point(self, seed: int, start: Start, share: float) -> dict[str, Any]:
        """What is known of a point that is done: who was labelled, AUROC per scored label and their mean, or a remark why there is none."""
        subset = choose(self.table, self._role(seed), share, seed)
        point = {"seed": seed, "fold": self.fold(seed), "start": start.name, "share": share}
        point |= {"patients": len(subset.patients), "training_patients": subset.of, "clips": subset.clips}
        if subset.lacks:
            remark = f"seed {seed} not evaluable: no training patient with {', '.join(subset.lacks)}"
            return point | dict.fromkeys(["macro_auroc", *(f"auroc_{label}" for label in SCORED), "seconds"]) | {"remark": remark}
        run = self._run(seed, start, share)
        predictions = read_out_of_fold(run / PREDICTIONS, LABELS)
        areas = {f"auroc_{label}": _area(predictions, label) for label in SCORED}
        known = [area for area in areas.values() if area is not None]
        macro = sum(known) / len(known) if len(known) == len(SCORED) else None
        remark = "" if macro is not None else f"seed {seed} not evaluable: the held-out patients lack a class"
        seconds = json.loads((run / FOLD).read_text(encoding="utf-8"))["seconds"]
        return point | {"macro_auroc": macro, **areas, "seconds": seconds, "remark": remark}

    def _common(self, seed: int) -> list[object]:
        store = self.options.store or self.options.manifest.parent / "store"
        quiet = ("--trainer.enable_progress_bar", "false", "--tracking.wandb", "disabled")
        return [
            *("--seed_everything", seed, "--data.store", store, "--model.clip_s", self.options.clip_s),
            *("--trainer.precision", self.options.precision, *quiet),
        ]

    def _role(self, seed: int) -> pd.Series:
        return self.folds[f"role_{self.fold(seed)}"]

    def _seed_folder(self, seed: int) -> Path:
        return self.options.out / f"seed-{seed}"

    def _run(self, seed: int, start: Start, share: float) -> Path:
        return self._seed_folder(seed) / f"{start.name}-{share:g}"

    def _settings(self) -> dict[str, Any]:
        """What must be the same for all points of one curve."""
        of_runs = ("num_folds", "clip_s", "pretrain_epochs", "pretrain_batch", "finetune_steps", "finetune_batch", "precision")
        files = {name: sha256_file(getattr(self.options, name)) for name in ("weights", "pretrain_config", "finetune_config")}
        clips = data_hash(self.table.assign(annotated=annotated(self.table)), [*LABELS, "quality"])
        return {name: getattr(self.options, name) for name in of_runs} | files | {"clips": clips}


def _area(predictions: OutOfFold, label: str) -> float | None:
    target, probability = (values[:, LABELS.index(label)] for values in (predictions.targets, predictions.probabilities))
    known = ~np.isnan(target)
    return auroc(target[known] == 1, probability[known])

"""A search, checked before anything is trained: what all of its trials share."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common.described import build
from common.errors import UserError
from common.files import sha256_text
from common.provenance import provenance
from common.store.index import store_beside
from finetune.encoder_source import EncoderSource, find_encoder, refuse_leak
from finetune.evaluation.metrics.scores import figure_names
from finetune.folds.table import HELD_OUT, count_folds, folds_hash, read_folds
from finetune.guard.allow import allowed_groups, read_allow_list
from finetune.search.chosen import FORMAT
from finetune.search.options import PROG
from finetune.search.space import Space, read_space
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Plan:
    """A search, checked before anything is trained.

    Attributes:
        own: options of the search.
        rest: those of ``finetune fit``.
        config: what the latter give, resolved.
        shared: everything that all trials share.
        table: the manifest.
        folds: roles of its clips in the outer folds.
        task: labels with their meaning.
        encoder: first weights.
        space: what is searched.
    """

    own: argparse.Namespace
    rest: list[str]
    config: dict[str, Any]
    shared: dict[str, Any]
    table: pd.DataFrame
    folds: pd.DataFrame
    task: Task
    encoder: EncoderSource
    space: Space

    @property
    def out(self) -> Path:
        return Path(self.config["out"])

    @property
    def folds_searched(self) -> list[int]:
        return list(range(count_folds(self.folds))) if self.own.fold is None else [self.own.fold]

    def record(self) -> dict[str, Any]:
        """The content of search.json."""
        return {
            "format": FORMAT,
            **{name: self.shared["search"][name] for name in ("space", "sampler", "pruning", "metric", "inner_folds", "inner_runs")},
            **provenance(),
            "data_hash": self.shared["search"]["data_hash"],
            "folds_hash": self.shared["search"]["folds_hash"],
            "seed": self.config["seed_everything"],
        }

    def settings_hash(self) -> str:
        """Of what trials share, without where it is written."""
        kept = {key: value for key, value in self.shared.items() if key not in ("out", "tracking", "config", "checkpoint_minutes")}
        paths = ("manifest", "folds", "store")
        data = {key: value for key, value in kept["data"].items() if key not in paths}
        return sha256_text(json.dumps({**kept, "data": data}, sort_keys=True))

    def trial_args(self, fold: int) -> list[str]:
        """What all trials of a fold get beside the shared arguments."""
        store = store_beside(self.config["data"]["manifest"], self.config["data"]["store"])
        file = self.encoder.file(fold)
        # Inner folds hold out patients that the encoder may have heard: all trials alike, and the outer fold's it has not.
        encoder = [] if file is None else [f"--model.encoder_file={file}", "--data.transductive=true"]
        return [*self.rest, f"--data.store={store}", *encoder]


def make_plan(own: argparse.Namespace, rest: list[str], config: dict[str, Any]) -> Plan:
    """Check a search's options, data, folds, encoder and space.

    Raises:
        UserError: one of them does not fit, or the encoder was pretrained on clips that a fold holds out.
    """
    data = config["data"]
    if config["model"]["encoder_file"]:
        raise UserError(f"{PROG} takes the encoder by --encoder, which checks every fold for leaks, not by model.encoder_file.")
    task = build(config["model"]["task"], Task)  # type: ignore[type-abstract]
    if own.metric not in figure_names(task):
        raise UserError(f"--metric is {own.metric!r}, expected one of {', '.join(figure_names(task))}.")
    table = task.read(data["manifest"])
    folds = read_folds(data["folds"], table, allowed_groups(read_allow_list(data["allow_leaks"])))
    if own.fold is not None and not 0 <= own.fold < count_folds(folds):
        raise UserError(f"--fold is {own.fold}, expected 0 to {count_folds(folds) - 1}, the folds of {data['folds']}.")
    encoder = find_encoder(own.encoder, count_folds(folds))
    space = read_space(own.space)
    accepted = own.transductive or data["transductive"]
    shared = {
        **config,
        "search": {
            "space": {each.key: vars(each) for each in space.dimensions},
            **{
                name: getattr(own, name) for name in ("sampler", "pruning", "prune_after", "inner_folds", "inner_runs", "metric", "encoder")
            },
            "data_hash": task.data_hash(table),
            "folds_hash": folds_hash(folds),
        },
    }
    plan = Plan(own, rest, config, json.loads(json.dumps(shared)), table, folds, task, encoder, space)
    for fold in plan.folds_searched if encoder.location is not None and not accepted else []:
        refuse_leak(encoder.file(fold) or "", table[(folds[f"role_{fold}"] == HELD_OUT).to_numpy()], f"fold {fold} holds out")
    return plan

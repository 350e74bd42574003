"""The runs of the benchmark, each by the command that a person would give, and their predictions in one package."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.commands import call
from benchmarks.lungs.datasets import LABELS, SOUNDS, Dataset, Judged
from benchmarks.lungs.packaged import CLIP, packed
from benchmarks.lungs.recipes import RECIPES, Recipe
from common.files import read_csv
from common.manifest import read_manifest

WEIGHTS = "--model.features.init_args.encoder.init_args.weights"


def run_all(dataset: Dataset, weights: Path, manifest: Path, folds: dict[int, Path], out: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """Run every recipe on every task and seed, as far as it is not done.

    Args:
        dataset: what is judged.
        weights: of the encoder.
        manifest: audited.
        folds: seed -> its folds.csv.
        out: folder of the benchmark.

    Returns:
        The package, and the minutes that the fits of each run took.
    """
    columns: dict[str, np.ndarray] = {}
    minutes: dict[str, float] = {}
    clips: pd.Series | None = None
    for seed, path in folds.items():
        for name, judged in dataset.tasks.items():
            data = ("--data.manifest", manifest, "--data.folds", path, "--data.store", out / "store", "--seed_everything", seed)
            for recipe, of in RECIPES.items():
                members = []
                for config in of.configs:
                    members.append(out / "runs" / f"{config.stem}-{name}-{seed}")
                    figures = _baseline(judged, config, members[-1], WEIGHTS, weights, *data)
                    minutes[members[-1].name] = figures["minutes"]
                run = _joined(of, members, out / "runs" / f"{recipe}-{name}-{seed}")
                oof = read_csv(run / "oof.csv", text=("clip_id",)).set_index("clip_id", drop=False)
                # Clips that no fold holds out have no prediction; they are the same in every run.
                clips = oof["clip_id"] if clips is None else clips
                oof = oof.loc[clips]
                columns |= {f"fold/{seed}": oof["fold"].to_numpy(), **packed(recipe, name, seed, judged.task(), oof)}
    assert clips is not None, "there is a seed, a task and a recipe"
    table = read_manifest(manifest, LABELS, classes=dataset.classes).set_index("clip_id", drop=False)
    described = table.loc[clips, [*CLIP, *LABELS, *dataset.classes, *dataset.about]].reset_index(drop=True)
    present = [name for name in (*LABELS, *SOUNDS) if name in described]
    return pd.concat([described.astype(dict.fromkeys(present, "Int8")), pd.DataFrame(columns)], axis=1), minutes


def _baseline(judged: Judged, config: Path, run: Path, *more: object) -> dict[str, float]:
    task = () if judged.config is None else ("-c", judged.config)
    figures: dict[str, float] = call("finetune", "baseline", "-c", config, *task, *more, "--out", run)
    return figures


def _joined(recipe: Recipe, members: list[Path], out: Path) -> Path:
    """The run of the recipe: its only member, or what ``finetune ensemble`` makes of all, once."""
    if len(members) == 1:
        return members[0]
    # run.json is written last: without it an ensemble was cut off, and its command wants an empty folder.
    if not (out / "run.json").is_file():
        shutil.rmtree(out, ignore_errors=True)
        several = read_csv(members[0] / "oof.csv")["fold"].nunique() > 1
        names = json.dumps([str(member) for member in members])
        # What is stacked is fitted on other folds, of which the official split has none.
        call("finetune", "ensemble", "--runs", names, "--rule", "stacked" if several else "logit_mean", "--out", out)
    return out

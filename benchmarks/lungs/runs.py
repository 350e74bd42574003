"""The runs of the benchmark, each by the command that a person would give, and their predictions in one package."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.commands import call
from benchmarks.lungs.datasets import SOUNDS, Judged, Unit
from benchmarks.lungs.packaged import CLIP, packed
from benchmarks.lungs.recipes import ALL_RECIPES, DEFAULT, DEFAULT_CONFIGS, MEMBERS, TAUGHT
from common.files import read_csv
from common.manifest import read_manifest

WEIGHTS = "--model.features.init_args.encoder.init_args.weights"
WINDOW = "--model.features.init_args.clip_s"


@dataclass(frozen=True)
class Inputs:
    """What all runs of a benchmark start from.

    Attributes:
        weights: of the encoder.
        manifest: audited.
        folds: seed -> its folds.csv.
        events: audited manifest of annotated events within the clips; None where there are none.
        default: of `DEFAULT_CONFIGS`; None leaves the default recipe out.
    """

    weights: Path
    manifest: Path
    folds: dict[int, Path]
    events: Path | None = None
    default: str | None = None


def run_all(unit: Unit, inputs: Inputs, out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Run every recipe on every task and seed, as far as it is not done.

    Args:
        unit: what is judged.
        inputs: what is read.
        out: folder of the benchmark.

    Returns:
        The package of the recipes, that of the members which are no recipe by themselves, and the minutes that the fits of each run took.
    """
    columns: dict[str, np.ndarray] = {}
    of_members: dict[str, np.ndarray] = {}
    minutes: dict[str, float] = {}
    clips: pd.Series | None = None
    for seed in inputs.folds:
        for name, judged in unit.tasks.items():
            runs: dict[str, Path] = {}
            for member in MEMBERS:
                runs[member] = out / "runs" / f"{member}-{name}-{seed}"
                minutes[runs[member].name] = _baseline(member, unit, judged, inputs, seed, out, runs[member])["minutes"]
            if inputs.default:
                runs[DEFAULT] = out / "runs" / f"{DEFAULT}-{name}-{seed}"
                minutes[runs[DEFAULT].name] = _default(unit, judged, inputs, seed, out, runs[DEFAULT])["minutes"]
            for recipe, of in ALL_RECIPES.items():
                if not set(of.members) <= set(runs):
                    continue
                runs[recipe] = _joined([runs[member] for member in of.members], out / "runs" / f"{recipe}-{name}-{seed}")
            for run, path in runs.items():
                oof = read_csv(path / "oof.csv", text=("clip_id",)).set_index("clip_id", drop=False)
                # Clips that no fold holds out have no prediction; they are the same in every run.
                clips = oof["clip_id"] if clips is None else clips
                oof = oof.loc[clips]
                columns[f"fold/{seed}"] = oof["fold"].to_numpy()
                (columns if run in ALL_RECIPES else of_members).update(packed(run, name, seed, judged.task(), oof))
    assert clips is not None, "there is a seed, a task and a recipe"
    table = read_manifest(inputs.manifest, unit.labels, classes=unit.classes).set_index("clip_id", drop=False)
    described = table.loc[clips, [*CLIP, *unit.labels, *unit.classes, *unit.about]].reset_index(drop=True)
    present = [name for name in (*unit.labels, *SOUNDS) if name in described]
    package = pd.concat([described.astype(dict.fromkeys(present, "Int8")), pd.DataFrame(columns)], axis=1)
    return package, pd.DataFrame({"clip_id": package["clip_id"], **of_members}), minutes


def _baseline(member: str, unit: Unit, judged: Judged, inputs: Inputs, seed: int, out: Path, run: Path) -> dict[str, float]:
    task = () if judged.config is None else ("-c", judged.config)
    data = ("--data.manifest", inputs.manifest, "--data.folds", inputs.folds[seed], "--data.store", out / "store")
    events = ("--data.events", inputs.events) if member == TAUGHT and inputs.events else ()
    windows = (WINDOW, unit.window_s) if member == TAUGHT and unit.window_s else ()
    more = (WEIGHTS, inputs.weights, *windows, *data, *events, "--seed_everything", seed)
    figures: dict[str, float] = call("finetune", "baseline", "-c", MEMBERS[member], *task, *more, "--out", run)
    return figures


def _default(unit: Unit, judged: Judged, inputs: Inputs, seed: int, out: Path, run: Path) -> dict[str, float]:
    """The run of the default recipe; its encoders, which hear no label, serve all tasks of a unit."""
    assert inputs.default is not None
    pretraining, tuning = DEFAULT_CONFIGS[inputs.default]
    encoders, store = out / "encoders" / f"{unit.folder or 'records'}-{seed}", ("--data.store", out / "store")
    data = ("--data.manifest", inputs.manifest, *store, "--seed_everything", seed)
    call("pretrain", "folds", "-c", pretraining, *data, "--folds", inputs.folds[seed], "--out", encoders)
    task = () if judged.config is None else ("-c", judged.config)
    words = ("--data.folds", inputs.folds[seed], "--encoder", encoders, "--out", run)
    figures: dict[str, float] = call("finetune", "crossval", "-c", tuning, *task, *data, *words)
    return figures


def _joined(members: list[Path], out: Path) -> Path:
    """The run of a recipe: its only member, or what ``finetune ensemble`` makes of all, once."""
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

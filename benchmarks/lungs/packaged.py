"""Out-of-fold predictions of all recipes, tasks and seeds as one small table, from which every figure can be made again.

A row is a clip: clip_id, recording, patient, quality, what the tasks read of it, what the analysis of errors reads (of records: site, age,
sex, types of their sounds), ``fold/SEED`` for each seed of the folds, and ``RECIPE/TASK/SEED/LABEL`` with the probability in
ten-thousandths. Of classes that exclude each other the last one is what remains.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.lungs.datasets import Unit
from common.files import read_csv
from finetune.tasks.base import Task

WHOLE = 10_000
CLIP = ("clip_id", "recording", "patient", "quality")


def name_of(recipe: str, task: str, seed: int, label: str) -> str:
    return f"{recipe}/{task}/{seed}/{label}"


def packed(recipe: str, name: str, seed: int, task: Task, oof: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns of the package from a run's table of out-of-fold predictions."""
    labels = task.labels[:-1] if task.one_of else task.labels
    return {name_of(recipe, name, seed, label): np.rint(oof[f"prob_{label}"].to_numpy() * WHOLE).astype(int) for label in labels}


def unpacked(package: pd.DataFrame, recipe: str, name: str, seed: int, task: Task) -> pd.DataFrame:
    """The run's table of out-of-fold predictions, probabilities to four digits."""
    labels = task.labels[:-1] if task.one_of else task.labels
    probabilities = package[[name_of(recipe, name, seed, label) for label in labels]].to_numpy(float) / WHOLE
    if task.one_of:
        # Rounded parts may add up to a ten-thousandth more than the whole.
        probabilities = np.column_stack([probabilities, (1 - probabilities.sum(axis=1)).clip(0, 1)])
    targets = task.targets(package)
    columns = {f"target_{label}": targets[:, index] for index, label in enumerate(task.labels)}
    columns |= {f"prob_{label}": probabilities[:, index] for index, label in enumerate(task.labels)}
    return package[list(CLIP)].assign(fold=package[f"fold/{seed}"], **columns)


def has(package: pd.DataFrame, recipe: str, name: str) -> bool:
    """Whether predictions of a recipe on a task were packaged; the default recipe is left out where nobody asked for it."""
    return any(column.startswith(f"{recipe}/{name}/") for column in package.columns)


def seeds_of(package: pd.DataFrame) -> list[int]:
    return [int(name.removeprefix("fold/")) for name in package.columns if name.startswith("fold/")]


def counts(package: pd.DataFrame, unit: Unit) -> dict[str, int]:
    """``clips`` and ``patients`` that are named, after the name of the unit's folder where it has one: ``events_clips``."""
    before = f"{unit.folder}_" if unit.folder else ""
    named = package.loc[package["patient"].fillna("") != "", "patient"]
    return {f"{before}clips": len(package), f"{before}patients": int(named.nunique())}


def read(path: Path) -> pd.DataFrame:
    """The package at ``path``."""
    return read_csv(path, text=(*CLIP, "record_class", "event_type", "site", "sex"))

"""Made clips with the class columns of the real datasets, and the arguments of a shipped task on them."""

import shutil
from pathlib import Path

import numpy as np

from common.manifest import read_manifest, write_manifest
from finetune.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ["Normal", "Rhonchi", "Wheeze", "Stridor", "Coarse Crackle", "Fine Crackle", "Wheeze+Crackle"]
DIAGNOSES = ["Asthma", "LRTI", *["Healthy", "COPD"] * 4, "URTI", "URTI"]


def write_classed(folder: Path, made: Path) -> Path:
    """Folder with manifest.csv, whose clips have classes of every dataset, folds.csv (3 folds) and tiny.yaml."""
    table = read_manifest(made / "manifest.csv", ("normal", "wheeze", "crackle"))
    heard = table["wheeze"].fillna(0).astype(int) + 2 * table["crackle"].fillna(0).astype(int)
    number = np.arange(len(table))
    # Poor quality in every third patient: a class like another.
    poor = (number // 4 % 3 == 0) & (number % 4 == 1)
    table["quality"] = np.where(poor, "poor", "")
    table["record_class"] = np.where(poor, "Poor Quality", heard.map({0: "Normal", 1: "CAS", 2: "DAS", 3: "CAS & DAS"}))
    table["event_type"] = [EVENTS[kind] for kind in number * 5 % 7]
    # One patient of asthma, one of LRTI and two of URTI: fewer than folds.
    table["diagnosis"] = [DIAGNOSES[patient] for patient in number // 4]
    table["disease_category"] = number % 5 + 1
    write_manifest(folder / "manifest.csv", table)
    shutil.copy(made / "tiny.yaml", folder)
    options = ["--num-folds", "3", "--class-column", "record_class"]
    main(["folds", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "folds.csv"), *options])
    return folder


def arguments(folder: Path, task: str, out: Path, *more: str) -> list[str]:
    data = ["--data.manifest", str(folder / "manifest.csv"), "--data.folds", str(folder / "folds.csv")]
    return ["-c", str(folder / "tiny.yaml"), "-c", str(ROOT / "configs" / "tasks" / f"{task}.yaml"), *data, "--out", str(out), *more]


def draw(classed: Path, out: Path, column: str) -> list[str]:
    """The arguments that draw three folds, balanced over a class column."""
    return ["folds", "--manifest", str(classed / "manifest.csv"), "--out", str(out), "--num-folds", "3", "--class-column", column]

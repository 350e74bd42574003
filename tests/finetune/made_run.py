"""A made run folder, as ``finetune crossval`` leaves it, and made out-of-fold tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune.tasks.multilabel import MultiLabel

LABELS = ("normal", "wheeze", "crackle")


def make_oof(patients: int = 40, clips_per_patient: int = 6, folds: int = 4, skill: float = 1.5, seed: int = 0) -> pd.DataFrame:
    """Out-of-fold predictions with wheezes and crackles in some patients; ``skill`` shifts positive clips' logits, 0 is chance."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), clips_per_patient)
    n = len(patient)
    ill = generator.random((patients, 2)) < 0.5
    abnormal = ill[patient] & (generator.random((n, 2)) < 0.6)
    targets = np.column_stack([~abnormal.any(axis=1), abnormal]).astype(float)
    logits = skill * (2 * targets - 1) + generator.normal(size=targets.shape) * 1.5
    table = pd.DataFrame(
        {
            "clip_id": [f"clip{i:04d}" for i in range(n)],
            "recording": [f"recording{i:04d}" for i in range(n)],
            "patient": [f"p{p:03d}" for p in patient],
            "device": "made",
            "site": "",
            "quality": "",
            "fold": patient % folds,
        }
    )
    for column, label in enumerate(LABELS):
        table[f"target_{label}"] = targets[:, column]
        table[f"prob_{label}"] = 1 / (1 + np.exp(-logits[:, column]))
    return table


def make_folds(oof: pd.DataFrame) -> pd.DataFrame:
    """The folds.csv that belongs to ``oof``: fold k + 1 is fold k's validation part."""
    table = oof[["clip_id", "recording", "patient", "fold"]].copy()
    count = int(oof["fold"].max()) + 1
    for fold in range(count):
        roles = np.full(len(table), "train", dtype=object)
        roles[table["fold"] == (fold + 1) % count] = "validation"
        roles[table["fold"] == fold] = "held_out"
        table[f"role_{fold}"] = roles
    return table


def write_run(folder: Path, oof: pd.DataFrame, **record: Any) -> Path:
    """Write a run folder with these predictions; ``record`` overrides what run.json says."""
    folder.mkdir(parents=True)
    oof.to_csv(folder / "oof.csv", index=False)
    make_folds(oof).to_csv(folder / "folds.csv", index=False)
    run = {
        "format": "auscult.run/1",
        "manifest": "manifest.csv",
        "task": MultiLabel().describe(),
        "sample_rate": 4000,
        "clip_s": 8.0,
        "grouped_by": "patient",
        "encoder": {"source": "none", "transductive": False, "file": None},
        "versions": {"python": "3.11.7", "torch": "2.11.0"},
        "git_commit": "0123abc",
        "data_hash": "d" * 64,
        "seed": 7,
    }
    (folder / "run.json").write_text(json.dumps({**run, **record}))
    for fold in oof["fold"].unique():
        (folder / f"fold-{fold}").mkdir()
        facts = {"fold": int(fold), "best_epoch": 3, "val_macro_auroc": 0.8, "seconds": 30.0, "train_clips": 100}
        (folder / f"fold-{fold}" / "fold.json").write_text(json.dumps(facts))
    return folder

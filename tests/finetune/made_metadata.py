"""Made clips with metadata that tell a label, and streams that are fitted on a few rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from finetune.metadata import Metadata

PARTS = "{class_path: finetune.metadata.Metadata, init_args: {numbers: [bmi], categories: [sex, ward]}}"
LABELS = ("wheeze", "cough")


def write_told(folder: Path, made: Path) -> Path:
    """The made clips with a cough that only the ward tells (a wheeze is heard), a BMI with gaps, and a config that takes them."""
    table = pd.read_csv(made / "manifest.csv", dtype=str, keep_default_na=False)
    table["cough"] = np.random.default_rng(0).integers(0, 2, len(table))
    table["ward"] = np.where(table["cough"] == 1, "north", "south")
    table["bmi"] = [f"{20 + number % 7}" if number % 3 else "" for number in range(len(table))]
    table.to_csv(folder / "manifest.csv", index=False)
    pd.read_csv(made / "folds.csv", dtype=str, keep_default_na=False).to_csv(folder / "folds.csv", index=False)
    config = (made / "tiny.yaml").read_text().replace("model:\n", f"model:\n  metadata: {PARTS}\n")
    task = "{class_path: finetune.tasks.multilabel.MultiLabel, init_args: {labels: [wheeze, cough], exclusive: null}}"
    (folder / "tiny.yaml").write_text(config.replace("{class_path: finetune.tasks.multilabel.MultiLabel}", task))
    return folder


def arguments(folder: Path, command: str, out: Path, *more: str, manifest: Path | None = None) -> list[str]:
    data = ["--data.manifest", str(manifest or folder / "manifest.csv"), "--data.folds", str(folder / "folds.csv")]
    return [command, "-c", str(folder / "tiny.yaml"), *data, "--out", str(out), *more]


def stream(**settings: Any) -> Metadata:
    metadata = Metadata(["age"], ["sex"], **settings)
    metadata.fit(pd.DataFrame({"age": [2.0, 4.0, 12.0], "sex": ["M", "F", "F"]}), "made")
    return metadata


def description(path: Path) -> dict[str, Any]:
    extra = {"model.json": ""}
    torch.jit.load(str(path), _extra_files=extra)
    return json.loads(extra["model.json"])

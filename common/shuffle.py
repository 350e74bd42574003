"""The shuffled-label control: the same recordings and patients with labels that mean nothing.

A pipeline that is sound is at chance on it. One that is not has a leak: a patient on two sides of a fold, a choice made on the
held-out clips, a figure computed on training data.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.manifest import groups, read_manifest, write_manifest


def shuffle(manifest: Path, out: Path, labels: str = "normal,wheeze,crackle", seed: int = 0) -> dict[str, Any]:
    """Shuffle the labels of a manifest between patients, as a control that must come out at chance.

    Args:
        manifest: CSV or Parquet file from 'common manifest' or 'common audit'.
        out: manifest to write; everything but the labels and the quality is as it was.
        labels: label columns, joined by commas; a clip's labels stay together.
        seed: of the shuffle.

    Returns:
        Figures ``clips``, ``moved`` (share of the clips that now carry another patient's labels) and ``manifest``.

    Raises:
        UserError: the manifest is missing or has no such label.
    """
    columns = [name.strip() for name in labels.split(",")]
    table = read_manifest(manifest, columns)
    shuffled, origin = shuffle_labels(table, columns, seed)
    write_manifest(out, shuffled)
    moved = float((groups(table).to_numpy() != groups(table).to_numpy()[origin]).mean())
    return {"clips": len(table), "moved": round(moved, 4), "manifest": str(out)}


def shuffle_labels(table: pd.DataFrame, labels: list[str], seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Lay the patients' labels end to end in random order of the patients, and deal them out to the clips in the table's order of patients.

    Labels of one patient so stay together, as they are in the real table, but belong to somebody else's sound. Quality moves
    with the labels, since a clip of poor quality has none.

    Returns:
        The table with shuffled labels, and for each clip the row that its labels come from, int64 [n].
    """
    generator = np.random.default_rng(seed)
    group = groups(table)
    names = group.unique()
    rank = dict(zip(names, generator.permutation(len(names)), strict=True))
    receivers = group.map({name: number for number, name in enumerate(names)}).to_numpy().argsort(kind="stable")
    givers = group.map(rank).to_numpy().argsort(kind="stable")
    origin = np.empty(len(table), dtype=np.int64)
    origin[receivers] = givers
    moving = [*labels, "quality"]
    shuffled = table.copy()
    shuffled[moving] = table[moving].to_numpy()[origin]
    return shuffled, origin

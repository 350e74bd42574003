"""What the networks of single epochs said of the held-out clips, kept so that figures of an epoch can have intervals over patients."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import atomic_path
from finetune.evaluation.out_of_fold import OutOfFold

HELD_OUT_PROBABILITIES = "held_out_epochs.npz"


def write_epoch(path: Path, epoch: int, table: pd.DataFrame, labels: tuple[str, ...]) -> None:
    """Add an epoch to the file at ``path``; epochs from it on, of a run that goes on within one, are forgotten.

    The file holds clip_id [n], epoch int64 [E] and probabilities float32 [E, n, L].

    Args:
        path: made where it is not there.
        epoch: from 0.
        table: predictions of the fold's held-out clips, in the same order every time.
        labels: names of the L labels.
    """
    kept, earlier = np.empty(0, np.int64), np.empty((0, len(table), len(labels)), np.float32)
    if path.is_file():
        with np.load(path) as file:
            before = file["epoch"] < epoch
            kept, earlier = file["epoch"][before], file["probabilities"][before]
    now = table[[f"prob_{label}" for label in labels]].to_numpy(np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            clip_id=table["clip_id"].to_numpy(str),
            epoch=np.append(kept, epoch),
            probabilities=np.concatenate([earlier, now[None]]),
        )


def read_epochs(path: Path, predictions: OutOfFold) -> dict[int, OutOfFold]:
    """Epoch -> ``predictions`` of a fold's held-out clips with the probabilities of that epoch.

    Raises:
        UserError: the file is of other clips.
    """
    with np.load(path) as file:
        clip_id, epochs, probabilities = file["clip_id"], file["epoch"], file["probabilities"].astype(np.float64)
    place = pd.Series(np.arange(len(clip_id)), index=clip_id)
    if set(clip_id) != set(predictions.table["clip_id"]):
        raise UserError(f"{path} is of other clips than the fold's predictions: run 'python -m finetune crossval' again.")
    rows = place[predictions.table["clip_id"]].to_numpy()
    return {int(epoch): replace(predictions, probabilities=of_epoch[rows]) for epoch, of_epoch in zip(epochs, probabilities, strict=True)}

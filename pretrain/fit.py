"""``python -m pretrain fit``: unlabelled clips in, ``encoder.pt`` out."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from common.encoder_file import save_encoder
from common.manifest import data_hash, groups
from common.provenance import provenance
from common.training.batches import global_seed
from common.training.metrics_csv import read_metrics
from common.training.stage import Stage
from pretrain.data import PretrainData
from pretrain.simclr import SimCLR

ENCODER = "encoder.pt"


def fit(args: Sequence[str]) -> dict[str, Any]:
    """Pretrain an encoder, or go on where an earlier start of the same run was cut off.

    Args:
        args: those of LightningCLI, see ``--help``.

    Returns:
        Figures: where the encoder is, epochs, losses and meters of the last epoch, clips, patients and recordings that it saw,
        and the minutes that this start took.
    """
    stage = Stage(
        prog="python -m pretrain fit",
        module=SimCLR,
        data=PretrainData,
        out="runs/pretrain",
        finish=partial(_finish, begun_s=time.monotonic()),
        job_type="pretrain",
        trainer_defaults={"max_epochs": 100},
    )
    return stage.fit(args)


def _finish(trainer: pl.Trainer, model: SimCLR, data: PretrainData, folder: Path, begun_s: float) -> dict[str, Any]:
    path = folder / ENCODER
    metrics = last_metrics(folder / "metrics.csv")
    if trainer.is_global_zero:
        made = {
            **provenance(),
            "config": yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
            "data_hash": data_hash(data.seen),
            "seed": global_seed(),
            "epochs": trainer.current_epoch,
            "metrics": metrics,
            "probe_patients": [] if data.probe is None else sorted(set(groups(data.probe.table))),
        }
        save_encoder(path, model.front_end, model.encoder, made, data.patients, data.recordings)
    return {
        "encoder": str(path),
        "epochs": trainer.current_epoch,
        "loss": metrics.get("train/loss"),
        **{
            name.removeprefix("val/").replace("/", "_") if name != "val/loss" else "val_loss": value
            for name, value in metrics.items()
            if name.startswith("val/")
        },
        "clips": len(data.seen),
        "patients": len(data.patients),
        "recordings": len(data.recordings),
        "minutes": round((time.monotonic() - begun_s) / 60, 2),
    }


def last_metrics(path: Path) -> dict[str, float | None]:
    """The last value of each metric of a run, None where it is not finite."""
    table = read_metrics(path)
    last = table.groupby("metric", sort=False)["value"].last()
    return {str(name): float(value) if abs(value) < float("inf") else None for name, value in last.items()}

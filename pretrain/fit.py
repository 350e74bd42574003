"""``python -m pretrain fit``: unlabelled clips in, ``encoder.pt`` out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from common.encoder_file import save_encoder
from common.manifest import data_hash, groups
from common.provenance import provenance
from common.training.batches import global_seed
from common.training.metrics_csv import read_metrics
from common.training.run_folder import CONFIG
from common.training.stage import Stage, training_time_s
from pretrain.data import PretrainData
from pretrain.simclr import SimCLR

ENCODER = "encoder.pt"


def fit(args: Sequence[str]) -> dict[str, Any]:
    """Pretrain an encoder, or go on where an earlier start of the same run was cut off.

    Args:
        args: those of the command line, see ``--help``, `SimCLR` and `PretrainData`.

    Returns:
        Figures, see `finish`; those of the earlier run where it had already finished.
    """
    return STAGE.fit(args)


def finish(trainer: pl.Trainer, model: SimCLR, data: PretrainData, folder: Path) -> dict[str, Any]:
    """Write ``encoder.pt`` into the run folder, of the last epoch: a contrastive loss says little about which epoch is best.

    Returns:
        Figures: where the encoder is, epochs, losses, meters and probes of the last epoch, the clips, patients, recordings and
        hours that it saw, and the minutes of training, those before a resumption included.
    """
    path = folder / ENCODER
    metrics = last_metrics(folder / "metrics.csv")
    if trainer.is_global_zero:
        made = {
            **provenance(),
            "config": _without_paths(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))),
            "data_hash": data_hash(data.seen, data.labels),
            "labels": list(data.labels),
            "seed": global_seed(),
            "epochs": trainer.current_epoch,
            "metrics": metrics,
            "probed": [] if data.probe is None else sorted(set(groups(data.probe.table))),
        }
        save_encoder(path, model.front_end, model.encoder, made, data.patients, data.recordings)
    return {
        "encoder": str(path),
        "epochs": trainer.current_epoch,
        "loss": metrics.get("train/loss"),
        **{name.replace("/", "_"): value for name, value in metrics.items() if name.startswith("val/")},
        "clips": len(data.seen),
        "patients": len(data.patients),
        "recordings": len(data.recordings),
        "hours": data.hours,
        "minutes": round(training_time_s(trainer) / 60, 2),
    }


def last_metrics(path: Path) -> dict[str, float | None]:
    """The last value of each metric of a run, None where it is not finite; nothing where none were written (fast_dev_run)."""
    if not path.is_file():
        return {}
    last = read_metrics(path).groupby("metric", sort=False)["value"].last()
    return {str(name): float(value) if abs(value) < float("inf") else None for name, value in last.items()}


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """What was computed, not where: the file travels, and folders are nobody else's business."""
    data = {name: Path(value).name if isinstance(value, str) else value for name, value in config["data"].items()}
    model = dict(config["model"])
    encoder = model["encoder"]
    if isinstance(weights := encoder.get("init_args", {}).get("weights"), str):
        model["encoder"] = {**encoder, "init_args": {**encoder["init_args"], "weights": Path(weights).name}}
    return {"seed_everything": config["seed_everything"], "model": model, "data": data, "trainer": config["trainer"]}


STAGE = Stage(
    prog="python -m pretrain fit",
    module=SimCLR,
    data=PretrainData,
    out="runs/pretrain",
    finish=finish,
    job_type="pretrain",
    trainer_defaults={"max_epochs": 100},
)

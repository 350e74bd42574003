"""When a run looks at its embeddings, and at whose: the callback behind probes and leakage."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from common.files import sha256_text
from common.manifest import groups
from pretrain.monitor.embeddings import embed_clips
from pretrain.monitor.leakage import leakage
from pretrain.monitor.probe import probe_scores

if TYPE_CHECKING:
    from pretrain.data import PretrainData

# Leakage compares all pairs, and is known well enough by then.
MOST_CLIPS = 512


class ProbeEpochs(pl.Callback):
    """Every ``data.probe_every_epochs`` epochs and after the last: val/knn_auroc/LABEL and val/linear_auroc/LABEL on the probe's
    clips, val/leak_device and val/leak_patient on these or, where there are none, on the validation clips.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        epochs = trainer.current_epoch + 1
        if data is None or (epochs % data.probe_every_epochs and epochs != trainer.max_epochs):
            return
        # One process is enough, and the figures are the same in all.
        for name, value in (scores(pl_module, data) if trainer.is_global_zero else {}).items():
            pl_module.log(f"val/{name}", value, rank_zero_only=True)


def scores(model: Any, data: "PretrainData") -> dict[str, float]:
    """Figures of both kinds, by their names without "val/"."""
    table, rows = clips_to_look_at(data)
    if table.empty:
        return {}
    some = torch.from_numpy(few_patients(table, MOST_CLIPS))
    if data.probe is None:
        return leakage(embed_clips(model, data, rows[some]).numpy(), table.iloc[some.numpy()])
    embeddings = embed_clips(model, data, rows).numpy()
    return {**probe_scores(embeddings, data.probe), **leakage(embeddings[some.numpy()], table.iloc[some.numpy()])}


def clips_to_look_at(data: "PretrainData") -> tuple[pd.DataFrame, Tensor]:
    """The probe's clips or, where there are none, the validation clips: their manifest and rows, int64 [n], of the data's table."""
    if data.probe is not None:
        return data.probe.table, data.probe.rows
    rows = torch.arange(data.num_train, data.num_train + data.num_validation)
    return data.table.iloc[rows.numpy()], rows


def few_patients(table: pd.DataFrame, most: int) -> Any:
    """Places of at most ``most`` rows, int64 in ascending order: whole patients, chosen by the hash of their names, the last one cut."""
    order = groups(table).map(lambda name: sha256_text(f"leakage/{name}")).reset_index(drop=True).sort_values(kind="stable")
    return order.index[:most].sort_values().to_numpy(copy=True)

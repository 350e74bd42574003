"""A picture of what training is shown: pairs of views of some clips, drawn once when a run begins."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch

from common.files import atomic_path
from common.frontends.base import FrontEnd
from common.training.batches import global_seed
from common.training.metrics_csv import folder_of
from common.training.step_seed import mix
from common.training.tracking import log_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEWS = "views.png"
CLIPS = 6
# Stands in for the epoch in the seed of the picture; neither a training epoch nor validation has this number.
PICTURE = -2


class ViewPictures(pl.Callback):
    """Draws views.png into the run folder, and onto W&B, where it is not there yet: the first clips of the first batch, as they
    are cropped and augmented for training.

    Random numbers are drawn apart, so that a run with the picture is the run without it.
    """

    def __init__(self) -> None:
        self._looked = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._looked:
            return
        self._looked = True
        folder, data = folder_of(trainer), getattr(trainer, "datamodule", None)
        if folder is None or data is None or not trainer.is_global_zero or (folder / VIEWS).exists():
            return
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(mix(global_seed(), PICTURE))
            views = pl_module.views(batch["crops"][:, :CLIPS])
        names = data.table["clip_id"].iloc[batch["row"][0, :CLIPS].cpu().numpy()].tolist()
        picture = draw_views(views.float().cpu().numpy(), names, pl_module.front_end)
        with atomic_path(folder / VIEWS) as temporary:
            temporary.write_bytes(picture)
        log_picture(trainer.loggers, "views", folder / VIEWS)


def draw_views(views: np.ndarray, names: Sequence[str], front_end: FrontEnd) -> bytes:
    """Draw spectrograms [2B, 1, F, N], the first views of B clips first, as PNG: one row per clip, its two views side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    pairs = views[:, 0].reshape(2, len(names), *views.shape[2:])
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(9, 0.5 + 1.35 * len(names)), layout="constrained")
        axes = figure.subplots(len(names), 2, sharex=True, sharey=True, squeeze=False)
        for row, name in enumerate(names):
            # One scale for both views of a clip, without its extremes.
            low, high = np.percentile(pairs[:, row], [1, 99.5])
            for column in range(2):
                _spectrogram(axes[row, column], pairs[column, row], front_end, low, high)
            axes[row, 0].set_title(_short(name), loc="left", fontsize=8)
            axes[row, 0].set_ylabel("Hz" if front_end.bin_hz is not None else "bin")
        axes[0, 1].set_title("second view", loc="right", fontsize=8)
        axes[0, 0].set_title("first view", loc="right", fontsize=8)
        for column in range(2):
            axes[-1, column].set_xlabel("time, s")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _spectrogram(axes: "Axes", values: np.ndarray, front_end: FrontEnd, low: float, high: float) -> None:
    bins, frames = values.shape
    seconds = frames * front_end.hop / front_end.sample_rate
    axes.imshow(values, origin="lower", aspect="auto", extent=(0, seconds, -0.5, bins - 0.5), cmap="magma", vmin=low, vmax=high)
    ticks = np.linspace(0, bins - 1, 5).round().astype(int)
    axes.set_yticks(ticks, [f"{front_end.bin_hz[tick]:.0f}" if front_end.bin_hz is not None else str(tick) for tick in ticks])


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"

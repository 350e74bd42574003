"""Which clips the map shows, what is known of them, and their embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from pretrain.data import PretrainData
from pretrain.monitor.embeddings import embed
from pretrain.monitor.probing import few_patients
from pretrain.report.run import Run


@dataclass(frozen=True)
class Shown:
    """Clips of the map.

    Attributes:
        table: their manifest.
        embeddings: float32 [n, D].
        source: whose they are, for the caption.
    """

    table: pd.DataFrame
    embeddings: np.ndarray
    source: str


def shown_clips(run: Run, manifest: str | None, store: str | None, most: int) -> Shown:
    """Embed the clips of ``manifest`` or, where it is None, those that the run probed or else kept for validation.

    Args:
        run: a run that has ended.
        manifest: of other clips.
        store: folder of the waveform store; the run's, or ``store`` beside ``manifest``, by default.
        most: clips at most; whole patients, chosen by the hash of their names.

    Raises:
        UserError: a manifest or recording is not there any more, or there are no such clips.
    """
    assert run.encoder is not None
    if manifest is not None:
        data = PretrainData(manifest, store)
        table, source = data.read(), f"clips of {Path(manifest).name}"
    else:
        data = run.data()
        data.store_folder = Path(store) if store else data.store_folder
        _, validation, probe = data.parts()
        table, source = (validation, "validation clips") if probe is None else (probe, "probed clips, which were not heard")
    if table.empty:
        raise UserError("the run kept no clips for validation or probes; name others with --manifest.")
    table = table.reset_index(drop=True)
    table = table.iloc[few_patients(table, most)].reset_index(drop=True)
    encoder, front_end, model = run.encoder.encoder, run.encoder.front_end, run.config["model"]
    opened, clips = data.opened(table, front_end.sample_rate)
    embeddings = embed(
        lambda waveform: encoder(front_end(waveform)),
        opened,
        clips,
        round(model["clip_s"] * front_end.sample_rate),
        model["short_clips"],
        min(run.config["data"]["batch_size"], 64),
    )
    return Shown(table, embeddings.numpy(), source)


def label_names(table: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """What each clip is annotated with, str [n]: "wheeze + crackle", "none of them", or "" where nothing is annotated."""
    known = [label for label in labels if label in table]
    if not known:
        return np.full(len(table), "")
    values = table[known].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    names = [" + ".join(label for label, value in zip(known, row, strict=True) if value == 1) for row in values]
    return np.array(["" if np.isnan(row).all() else name or "none of them" for name, row in zip(names, values, strict=True)])

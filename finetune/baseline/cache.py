"""Features of clips, computed once: kept beside the waveforms, by the samples of each clip and what computed them."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from common.errors import UserError
from common.files import atomic_path, sha256_text
from common.progress import track
from common.store.index import store_folder
from common.store.waveforms import ClipIndex, WaveformStore
from finetune.baseline.features import Features

# Raise it when features change with unchanged settings, so that none computed earlier is taken for new.
SETTINGS = "features 2"
SAVE_EVERY_S = 60.0


def clip_features(features: Features, folder: str | Path, table: pd.DataFrame) -> list[np.ndarray]:
    """The features of each of n clips, float32 [D], or [N, D] of its frames; those that were computed before are read.

    What is new is saved every minute, so that a run that is cut off goes on there.

    Args:
        features: what to compute.
        folder: of the waveform store; what it lacks is decoded.
        table: manifest.

    Raises:
        UserError: a clip's features are not finite, or are not those of other clips in number.
    """
    features = features.eval()
    store = WaveformStore.open(folder, table, features.front_end.sample_rate)
    clips = store.clips(table)
    path = store_folder(folder, store.sample_rate) / f"features-{_name(features)}.npz"
    known = _read(path)
    digests = [_digest(samples, scale) for samples, scale in zip(store.samples(clips), clips.scale.tolist(), strict=True)]
    missing = [row for row, digest in enumerate(digests) if digest not in known]
    saved = time.monotonic()
    for row in track(missing, "Computing features") if missing else ():
        known[digests[row]] = _features(features, store, clips[torch.tensor([row])], table["clip_id"].iloc[row])
        if time.monotonic() - saved > SAVE_EVERY_S:
            _write(path, known)
            saved = time.monotonic()
    if missing:
        _write(path, known)
    return [known[digest] for digest in digests]


def _features(features: Features, store: WaveformStore, clip: ClipIndex, name: str) -> np.ndarray:
    """Of one clip, float32. One at a time: what a clip becomes must not depend on the others, not even in rounding."""
    num_samples = max(int(clip.length), features.min_samples)
    with torch.inference_mode():
        found = features(store.read(clip, torch.zeros(1, dtype=torch.int64), num_samples))[0].numpy()
    if not np.isfinite(found).all():
        raise UserError(f"The features of clip {name!r} are not finite: look at it with 'python -m common audit', or choose others.")
    return found.astype(np.float32)


def _name(features: Features) -> str:
    """Stands for what computes the features: its settings and, since a description leaves weights out, its weights."""
    weights = hashlib.sha256()
    for key, value in sorted(features.state_dict().items()):
        weights.update(key.encode())
        weights.update(value.detach().cpu().contiguous().numpy().tobytes())
    description = features.describe()
    # The file's name says nothing that its content does not.
    description["init_args"].pop("encoder_file", None)
    parts = [features.front_end.describe(), description]
    return sha256_text(json.dumps([SETTINGS, parts, weights.hexdigest()], sort_keys=True))[:16]


def _digest(samples: np.ndarray, scale: float) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes() + np.float32(scale).tobytes()).hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            values = file["values"]
            parts = np.split(values, np.cumsum(file["rows"])[:-1]) if "rows" in file else values
            return dict(zip(file["digest"].tolist(), parts, strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): delete it, it will be computed again.") from error


def _write(path: Path, known: dict[str, np.ndarray]) -> None:
    found = list(known.values())
    arrays: dict[str, Any] = {"digest": np.array(list(known)), "values": np.vstack(found)}
    if found[0].ndim == 2:
        arrays["rows"] = np.array([len(values) for values in found])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)

"""Files that hold the same sound: exact copies by their samples, near-copies by landmarks and coherence.

What is found depends on the files' contents alone, so it is kept in the waveform store under their hash, and neither a resumed run nor
other folds of the same files search again.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from common.audio.resample import resample
from common.files import sha256_text, write_json
from common.progress import track
from common.store.index import absolute_paths, store_folder
from common.store.waveforms import ClipIndex, WaveformStore
from finetune.guard.coherence import LIMIT, coherence
from finetune.guard.landmarks import RATE, candidates, landmarks

FORMAT = "auscult.duplicates/1"
# Raise it when landmarks, coherence or their limits change, so that nothing found earlier is taken for new.
SETTINGS = "duplicates 1"


@dataclass(frozen=True)
class Pair:
    """Two files with the same sound.

    Attributes:
        one, other: hashes of their stored samples.
        coherence: median over bins, 0 to 1; 1 for exact copies.
        overlap_s: how much of them was compared, s.
    """

    one: str
    other: str
    coherence: float
    overlap_s: float


@dataclass(frozen=True)
class Duplicates:
    """What was found in a set of files.

    Attributes:
        digest: path (absolute) -> hash of its stored samples; equal for exact copies.
        near: near-copies; empty where they were not looked for.
    """

    digest: dict[str, str]
    near: list[Pair]

    def exact(self) -> Iterator[tuple[str, str]]:
        """Paths with the same samples, pair by pair."""
        same: dict[str, list[str]] = defaultdict(list)
        for path, digest in self.digest.items():
            same[digest].append(path)
        for paths in same.values():
            yield from combinations(paths, 2)

    def near_paths(self) -> Iterator[tuple[str, str, Pair]]:
        """Near-copies with their paths, every combination where a file has exact copies."""
        paths: dict[str, list[str]] = defaultdict(list)
        for path, digest in self.digest.items():
            paths[digest].append(path)
        for pair in self.near:
            for one in paths[pair.one]:
                for other in paths[pair.other]:
                    yield one, other, pair


def find_duplicates(folder: str | Path, table: pd.DataFrame, sample_rate: int, near: bool = True) -> Duplicates:
    """Compare every file of a manifest with every other.

    Args:
        folder: the waveform store's; what it lacks is decoded first, and what is found is kept in it.
        table: manifest.
        sample_rate: of the store that is read, Hz; best the one that will be trained on.
        near: look for near-copies too, not only for equal samples.
    """
    files = table.assign(path=absolute_paths(table), start_s=0.0, end_s=np.nan).drop_duplicates("path")
    store = WaveformStore.open(folder, files, sample_rate)
    clips = store.clips(files)
    digest = dict(zip(files["path"], (_digest(samples) for samples in store.samples(clips)), strict=True))
    # One file of each content, in an order that does not depend on where the files lie.
    rows = {content: row for row, content in enumerate(digest.values())}
    contents = sorted(rows)
    if not near:
        return Duplicates(digest, [])
    path = store_folder(folder, sample_rate) / f"duplicates-{sha256_text(json.dumps([SETTINGS, contents]))[:16]}.json"
    if path.is_file():
        return Duplicates(digest, [Pair(**pair) for pair in json.loads(path.read_text(encoding="utf-8"))["pairs"]])
    found = _near(store, clips, [rows[content] for content in contents])
    pairs = [Pair(contents[one], contents[other], value, overlap) for one, other, value, overlap in found]
    write_json(path, {"format": FORMAT, "files": len(contents), "pairs": [asdict(pair) for pair in pairs]})
    return Duplicates(digest, pairs)


def _near(store: WaveformStore, clips: ClipIndex, rows: Sequence[int]) -> list[tuple[int, int, float, float]]:
    """Near-copies among ``rows`` of ``clips``: positions in ``rows``, coherence and overlap (s)."""
    marks = [landmarks(_waveform(store, clips, row)) for row in track(rows, "Fingerprinting recordings")]
    found = []
    for number, shared in enumerate(track(candidates(marks), "Comparing fingerprints", total=len(rows))):
        for earlier, lag in shared:
            value, overlap = coherence(_waveform(store, clips, rows[earlier]), _waveform(store, clips, rows[number]), lag)
            if value >= LIMIT:
                found.append((earlier, number, round(value, 4), round(overlap, 3)))
    return found


def _waveform(store: WaveformStore, clips: ClipIndex, row: int) -> Tensor:
    """One file, float32 [T] at the landmarks' rate."""
    (samples,) = store.samples(clips[torch.tensor([row])])
    return resample(torch.from_numpy(samples.astype(np.float32)) / 2**15, store.sample_rate, RATE)


def _digest(samples: np.ndarray) -> str:
    """Hash of int16 [T], which is the same for a copy that only the scale of its floats tells apart."""
    return hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()

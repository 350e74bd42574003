"""Made clips in shards, and the batches that a process gets of them."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from made_store import RATE, manifest_of, noise

from common.__main__ import main
from common.manifest import Clip
from common.shards.loader import Batch, Crops, ShardLoader
from common.shards.shard_set import ShardSet


def clips(folder: Path, number: int, patients: int = 5, seconds: float = 0.05) -> Path:
    """A manifest of ``number`` clips of growing length in half as many recordings; clip k is called "clip k"."""
    made = []
    for k in range(0, number, 2):
        path = folder / f"{k}.wav"
        long_s = seconds * (1 + k / number)
        soundfile.write(path, noise(2 * long_s, k), RATE)
        for part in range(2):
            borders = {"start_s": part * long_s, "end_s": (part + 1) * long_s if part == 0 else None}
            made.append(Clip(f"clip {k + part}", str(path), path.stem, patient=f"patient {k % patients}", **borders))
    return manifest_of(folder, made[:number])


def run_shard(manifest: Path, out: Path, *options: str, rate: int = RATE) -> Any:
    return main(["shard", "--manifest", str(manifest), "--out", str(out), "--sample-rate", str(rate), "--workers", "0", *options])


def loader(shards: str | Path, workers: int = 0, rank: int = 0, world_size: int = 1, **crops: Any) -> ShardLoader:
    """Batches of all clips; ``row`` of a batch says which."""
    reader = ShardSet.open(str(shards)).reader_at(RATE)
    rows = np.arange(len(reader.shard))
    settings = Crops(**{"batch_size": 4, "views": 2, "num_samples": 150, "shuffle_clips": 10, **crops})
    return ShardLoader(reader, rows, {"row": rows}, settings, workers=workers, seed=3, rank=rank, world_size=world_size)


def rows_of(batches: list[Batch]) -> list[int]:
    return torch.cat([batch["row"] for batch in batches]).tolist()


def assert_equal_batches(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name

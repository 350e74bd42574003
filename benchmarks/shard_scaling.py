"""What a clip costs from shards, and from the waveform store, as the number of clips grows: it should stay what it is.

Made clips of 1 s at 4 kHz, ten to a recording, in a temporary folder that is removed. Each measurement is one process of its own, which
reads the clips, crops two views of each and makes batches; peak memory is what it took beyond its imports, of the store with the pages of
its file that were read. The files were just written, so that a disk's speed is not in the figures. 100,000 clips need 3 GB of disk.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import call
from common.errors import UserError
from common.progress import say

SAMPLE_RATE = 4000
CLIPS_PER_RECORDING = 10
CROP_SAMPLES, BATCH_SIZE, VIEWS = 3200, 256, 2
# Epochs of a small set are timed together.
TIMED_CLIPS = 20_000
# Many shards at the largest size, one at the smallest.
SHARD_MB = 16.0
GB_PER_CLIP = 30e-6
COLUMNS = ("clips", "shards", "write_us", "open_s", "clip_us", "memory_mb", "store_open_s", "store_clip_us", "store_memory_mb")


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shard_scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="numbers of clips")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made; the system's own place by default")
    options = parser.parse_args(args)
    try:
        rows = [measured(size, options.folder) for size in options.sizes]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    say("  ".join(f"{name:>15}" for name in COLUMNS))
    for row in rows:
        say("  ".join(f"{row[name]:>15,}" for name in COLUMNS))
    figures = {"sizes": rows, "largest_over_smallest": round(rows[-1]["clip_us"] / rows[0]["clip_us"], 3)}
    print(json.dumps(figures))
    return figures


def measured(size: int, folder: Path | None) -> dict[str, Any]:
    """Figures of one set of clips; times are of one clip, in microseconds."""
    with tempfile.TemporaryDirectory(prefix="auscult-", dir=folder) as name:
        work = Path(name)
        free_gb = shutil.disk_usage(work).free / 1e9
        if size * GB_PER_CLIP > free_gb:
            raise UserError(
                f"{work} has {free_gb:.1f} GB free, but {size} clips need {size * GB_PER_CLIP:.1f} GB: choose another --folder."
            )
        say(f"{size} clips: writing recordings, shards and store")
        make_recordings(work, size)
        written = in_process(write, work)
        streamed, stored = in_process(stream, work), in_process(gather, work)
        return {"clips": size, **written, **streamed, **{f"store_{key}": value for key, value in stored.items()}}


def make_recordings(work: Path, size: int) -> None:
    """Recordings of noise with a manifest of ``size`` clips, patients of 50 clips each."""
    import soundfile

    from common.manifest import Clip, to_table, write_manifest

    generator = np.random.default_rng(0)
    clips = []
    for first in range(0, size, CLIPS_PER_RECORDING):
        path = work / "recordings" / f"{first // 10_000}" / f"{first}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.integers(-9000, 9000, CLIPS_PER_RECORDING * SAMPLE_RATE, dtype=np.int16), SAMPLE_RATE)
        for number in range(first, min(first + CLIPS_PER_RECORDING, size)):
            start_s = float(number - first)
            clips.append(
                Clip(f"clip {number}", str(path), f"recording {first}", start_s, start_s + 1, SAMPLE_RATE, 10.0, f"patient {number // 50}")
            )
    write_manifest(work / "manifest.parquet", to_table(clips))


def in_process(function: Callable[[Path], dict[str, Any]], work: Path) -> dict[str, Any]:
    """Run ``function`` in a fresh process, whose peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (work,))


def write(work: Path) -> dict[str, Any]:
    """Write the shards by the command, and the store."""
    options = ("--manifest", work / "manifest.parquet", "--sample-rate", SAMPLE_RATE)
    shards = call("common", "shard", *options, "--out", work / "shards", "--shard-mb", SHARD_MB)
    call("common", "store", *options, "--out", work / "store")
    return {"shards": shards["shards"], "write_us": round(shards["seconds"] / shards["clips"] * 1e6, 1)}


def stream(work: Path) -> dict[str, Any]:
    """Epochs from the shards, in one process without workers."""
    from common.shards.loader import Crops, ShardLoader
    from common.shards.shard_set import ShardSet

    before_mb, begun = _memory_mb(), time.perf_counter()
    shards = ShardSet.open(str(work / "shards"))
    rows = np.arange(len(shards.table))
    codes = {"recording": shards.table["recording"].factorize()[0]}
    loader = ShardLoader(shards.reader_at(SAMPLE_RATE), rows, codes, Crops(BATCH_SIZE, VIEWS, CROP_SAMPLES))
    open_s = time.perf_counter() - begun
    return _figures(open_s, loader, before_mb)


def gather(work: Path) -> dict[str, Any]:
    """Epochs from the waveform store, as training reads it on a CPU."""
    import torch

    from common.manifest import read_manifest
    from common.store.waveforms import WaveformStore
    from common.training.batches import BatchSampler, crop_offsets

    before_mb, begun = _memory_mb(), time.perf_counter()
    table = read_manifest(work / "manifest.parquet")
    store = WaveformStore.open(work / "store", table, SAMPLE_RATE, build=False)
    clips = store.clips(table)
    sampler = BatchSampler(len(clips), BATCH_SIZE, VIEWS)
    open_s = time.perf_counter() - begun

    def batch(rows: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        offsets = [crop_offsets(clips.length[rows], draws[:, view], CROP_SAMPLES) for view in range(VIEWS)]
        return torch.stack([store.read(clips[rows], offset, CROP_SAMPLES) for offset in offsets])

    return _figures(open_s, sampler, before_mb, lambda each: batch(each["row"], each["draw"]))


def _figures(open_s: float, batches: Any, before_mb: float, read: Callable[[Any], Any] = lambda batch: batch) -> dict[str, Any]:
    """Time whole epochs, what is planned at their start included, after one that is not timed."""
    epochs = max(1, TIMED_CLIPS // (len(batches) * BATCH_SIZE))
    for epoch in range(1 + epochs):
        if epoch <= 1:
            begun = time.perf_counter()
        batches.set_epoch(epoch)
        for each in batches:
            read(each)
    clip_us = (time.perf_counter() - begun) / epochs / len(batches) / BATCH_SIZE * 1e6
    return {"open_s": round(open_s, 3), "clip_us": round(clip_us, 1), "memory_mb": round(_memory_mb() - before_mb, 1)}


def _memory_mb() -> float:
    """Peak memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform.startswith("linux") else 1) / 1e6


if __name__ == "__main__":
    main()

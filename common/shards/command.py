"""``python -m common shard``: decode every clip of a manifest into WebDataset shards."""

import time
from pathlib import Path
from typing import Any


def shard(
    manifest: Path, out: Path, sample_rate: int, shard_mb: float = 256.0, seed: int = 0, workers: int | None = None
) -> dict[str, Any]:
    """Decode every clip of a manifest into WebDataset shards, which 'python -m pretrain stream' then reads from anywhere.

    Clips are dealt out over the shards at random, so that each shard is a sample of all patients. A command that was interrupted
    goes on behind the last finished shard when it is started again.

    Args:
        manifest: CSV or Parquet file from 'common manifest' or 'common audit'.
        out: folder of the shards, made if missing; copy it as it is to a web server or into object storage.
        sample_rate: of the samples, Hz: that of the front end which will read them.
        shard_mb: size of a shard, MB, about.
        seed: of the order of the clips.
        workers: threads that decode; 0 decodes in the main thread, by default one thread per CPU.

    Returns:
        Figures: clips, shards, hours of the clips, bytes of all shards, shards written now and reused, seconds, and the folder.
    """
    from common.manifest import read_manifest
    from common.shards.write import write_shards

    begun = time.monotonic()
    index, written = write_shards(out, read_manifest(manifest), sample_rate, shard_mb, seed, workers)
    return {
        "clips": index["clips"],
        "shards": len(index["shards"]),
        "hours": index["hours"],
        "bytes": sum(each["bytes"] for each in index["shards"]),
        "written": written,
        "reused": len(index["shards"]) - written,
        "seconds": round(time.monotonic() - begun, 2),
        "out": str(out),
    }

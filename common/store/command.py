"""``python -m common store``: decode every recording of a manifest once."""

import time
from pathlib import Path
from typing import Any


def store(manifest: Path, out: Path, sample_rate: int, workers: int | None = None) -> dict[str, Any]:
    """Decode every recording of a manifest once into a waveform store, which training then reads without decoding.

    Running it again decodes only what is new or has changed. Training does the same at its first use.

    Args:
        manifest: CSV or Parquet file from 'common manifest' or 'common audit'.
        out: folder of the store, made if missing; training looks for 'store' beside its manifest by default.
        sample_rate: of the stored samples, Hz: that of the front end which will read them.
        workers: threads that decode; 0 decodes in the main thread, by default one thread per CPU.

    Returns:
        Figures: recordings and hours of this manifest, bytes of the whole store at this rate, recordings decoded now and reused,
        seconds, and the store's folder.
    """
    from common.manifest import read_manifest
    from common.store.build import build
    from common.store.index import AUDIO_NAME, absolute_paths, store_folder

    begun = time.monotonic()
    paths = absolute_paths(read_manifest(manifest))
    index, decoded = build(out, paths, sample_rate, workers)
    recordings = {index[path].content: index[path] for path in paths}
    return {
        "recordings": len(recordings),
        "hours": round(sum(recording.length for recording in recordings.values()) / sample_rate / 3600, 4),
        "bytes": (store_folder(out, sample_rate) / AUDIO_NAME).stat().st_size,
        "decoded": decoded,
        "reused": len(recordings) - decoded,
        "seconds": round(time.monotonic() - begun, 2),
        "store": str(out),
    }

"""Made recordings with a manifest, and their waveform store."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from common.__main__ import main
from common.manifest import Clip, read_manifest, to_table, write_manifest
from common.store.waveforms import ClipIndex, WaveformStore

RATE = 4000


def noise(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """16-bit noise as the integers that a WAV file holds."""
    return np.random.default_rng(seed).integers(-20000, 20000, round(seconds * rate), dtype=np.int16)


def manifest_of(folder: Path, clips: list[Clip]) -> Path:
    write_manifest(folder / "manifest.csv", to_table(clips))
    return folder / "manifest.csv"


def recordings(folder: Path, number: int, seconds: float = 0.2, rate: int = RATE) -> Path:
    """``number`` WAV files of noise, seed = their number, and a manifest with one clip for each."""
    clips = []
    for number_of in range(number):
        path = folder / f"{number_of}.wav"
        soundfile.write(path, noise(seconds, number_of, rate), rate)
        clips.append(Clip(clip_id=f"clip {number_of}", path=str(path), recording=path.stem))
    return manifest_of(folder, clips)


def run_store(manifest: Path, rate: int = RATE) -> dict:
    return main(["store", "--manifest", str(manifest), "--out", str(manifest.parent / "store"), "--sample-rate", str(rate)])


def open_store(manifest: Path, rate: int = RATE, **options: bool) -> tuple[WaveformStore, ClipIndex]:
    table = read_manifest(manifest)
    store = WaveformStore.open(manifest.parent / "store", table, rate, workers=0, **options)
    return store, store.clips(table)


def read_whole(store: WaveformStore, clips: ClipIndex, row: int) -> np.ndarray:
    one = clips[torch.tensor([row])]
    return store.read(one, torch.tensor([0]), int(one.length), "pad")[0].numpy()

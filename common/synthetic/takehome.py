"""Write made patients in the take-home layout: ``train/NNNN.wav`` and ``train.csv``."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from common.errors import UserError
from common.files import atomic_path, write_csv, write_json
from common.synthetic.patients import make_patients

MARK = "synthetic.json"


def write_takehome(
    folder: str | Path, patients: int = 24, clips_per_patient: int = 6, seconds: float = 5.0, sample_rate: int = 4000, seed: int = 0
) -> pd.DataFrame:
    """Write made clips as 16-bit WAV with a table of their labels.

    A folder that an earlier call wrote is replaced; it is known by its ``synthetic.json``, so that real data never is.

    Args:
        folder: gets ``train/``, ``train.csv`` and ``synthetic.json``.
        patients, clips_per_patient, seconds, sample_rate, seed: see `make_patients`.

    Returns:
        The table: filename, patient, normal, wheeze, crackle (1 or 0).

    Raises:
        UserError: the folder holds other data or cannot be written, or an argument is out of range.
    """
    folder = Path(folder)
    if patients < 1 or clips_per_patient < 1 or seconds < 0.5 or sample_rate < 2000 or seed < 0:
        raise UserError(
            f"Cannot make {patients} patients of {clips_per_patient} clips of {seconds} s at {sample_rate} Hz with seed {seed}: expected "
            "at least 1 patient, 1 clip, 0.5 s, 2000 Hz and seed 0."
        )
    if (folder / MARK).is_file():
        shutil.rmtree(folder / "train", ignore_errors=True)
    elif (folder / "train").exists() or (folder / "train.csv").exists():
        raise UserError(f"{folder} holds a train folder or table that this command did not write: choose another folder.")
    settings = {"patients": patients, "clips_per_patient": clips_per_patient, "seconds": seconds, "sample_rate": sample_rate, "seed": seed}
    write_json(folder / MARK, settings)
    (folder / "train").mkdir(exist_ok=True)
    rows = []
    for number, clip in enumerate(make_patients(patients, clips_per_patient, seconds, sample_rate, seed)):
        name = f"{number:04d}.wav"
        write_pcm16(folder / "train" / name, clip.waveform, sample_rate)
        rows.append({"filename": name, "patient": clip.patient, "normal": clip.normal, "wheeze": clip.wheeze, "crackle": clip.crackle})
    table = pd.DataFrame(rows)
    write_csv(folder / "train.csv", table)
    return table


def write_pcm16(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write ``waveform`` [T] as 16-bit WAV, rounded to the nearest step (soundfile alone rounds down)."""
    steps = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, steps, sample_rate, subtype="PCM_16")

"""Made breaths of patients with their folds, and what the split guard finds in them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import butter, resample_poly, sosfilt

from finetune.__main__ import main

FOLDS = 3


def breathing(patient: int, recording: int, seconds: float = 6.0, rate: int = 8000) -> np.ndarray:
    """Breath noise with the patient's own rhythm, timbre and heart beat: alike within a patient, but no copy. [T], float."""
    own, random = np.random.default_rng(patient), np.random.default_rng([patient, recording])
    time = np.arange(int(seconds * rate)) / rate
    edge_hz, breath_hz, beat_s = own.uniform(250, 500), own.uniform(0.2, 0.4), own.uniform(0.7, 1.0)
    noise = sosfilt(butter(2, [80, edge_hz], "bandpass", fs=rate, output="sos"), random.standard_normal(len(time)))
    breath = noise * (0.2 + np.sin(np.pi * breath_hz * (time + random.uniform(0, 2))) ** 2)
    since_beat = (time + random.uniform(0, beat_s)) % beat_s
    heart = 0.5 * np.exp(-since_beat / 0.03) * np.sin(2 * np.pi * 70 * since_beat)
    mains = 0.05 * np.sin(2 * np.pi * 50 * time)
    return np.asarray(0.3 * (breath + heart + mains))


def write_data(
    folder: Path, copies: dict[str, tuple[np.ndarray, int]] | None = None, patients: int = 6
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write two recordings per patient, and ``copies`` (name -> samples and rate) as recordings of patient p1, with its tables."""
    rows = []
    sounds = {f"r{p}-{n}": (p, breathing(p, n), 8000) for p in range(patients) for n in range(2)}
    sounds |= {name: (1, samples, rate) for name, (samples, rate) in (copies or {}).items()}
    for number, (name, (patient, samples, rate)) in enumerate(sounds.items()):
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="PCM_16")
        wheeze = (number + number // 2) % 2
        rows.append(
            {
                "clip_id": name,
                "path": str(folder / f"{name}.wav"),
                "recording": name,
                "patient": f"p{patient}",
                "sample_rate": rate,
                "device": "one",
                "normal": 1 - wheeze,
                "wheeze": wheeze,
                "crackle": number % 2,
            }
        )
    table = pd.DataFrame(rows)
    fold = table["patient"].str[1:].astype(int) % FOLDS
    folds = table[["clip_id", "recording", "patient"]].assign(fold=fold)
    for number in range(FOLDS):
        roles = np.where(fold == (number + 1) % FOLDS, "validation", "train")
        folds[f"role_{number}"] = np.where(fold == number, "held_out", roles)
    save(folder, table, folds)
    return table, folds


def save(folder: Path, table: pd.DataFrame, folds: pd.DataFrame) -> None:
    table.to_csv(folder / "manifest.csv", index=False)
    folds.to_csv(folder / "folds.csv", index=False)


def arguments(folder: Path, *more: str) -> list[str]:
    names = ["--manifest", str(folder / "manifest.csv"), "--folds", str(folder / "folds.csv"), "--out", str(folder / "guard.json")]
    return ["guard", *names, *more]


def findings(folder: Path) -> list[tuple[str, str, str]]:
    record = json.loads((folder / "guard.json").read_text())
    return [(each["code"], each["item"], each["other"]) for each in record["findings"]]


def leaks(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[list[tuple[str, str, str]], str]:
    """What the guard refuses, and in which words."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(arguments(folder, *more))
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return findings(folder), said


def allow(folder: Path, *rows: str) -> str:
    (folder / "allow.csv").write_text("code,item,other,reason\n" + "\n".join(rows) + "\n")
    return str(folder / "allow.csv")


ORIGINAL = breathing(0, 0)
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.standard_normal(len(ORIGINAL)) * ORIGINAL.std() * 10 ** (-30 / 20)
COPIES = {
    "gain": (0.3 * ORIGINAL, 8000),
    "louder and upside down": (-1.4 * ORIGINAL, 8000),
    "first half second gone": (ORIGINAL[4000:], 8000),
    "odd samples gone at both ends": (ORIGINAL[1237:-2371], 8000),
    "44.1 kHz": (resample_poly(ORIGINAL, 441, 80), 44100),
    "4 kHz": (resample_poly(ORIGINAL, 1, 2), 4000),
    "noise at 30 dB SNR": (ORIGINAL + NOISE, 8000),
    "all together": (resample_poly(0.5 * (ORIGINAL + NOISE)[4000:], 441, 80), 44100),
}

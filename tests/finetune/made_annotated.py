"""Made records of which every breath is annotated, and the arguments of a baseline that learns from these events."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from made_baseline import arguments

from common.manifest import Clip, to_table, write_manifest
from finetune.__main__ import main

RATE = 4000
# A breath in which the sound is, and one without.
BREATHS = ((0.0, 1.0), (1.0, 2.0))


def write_breaths(folder: Path, patients: int = 9, records: int = 4) -> None:
    """Records of two breaths, one of which has a tone (a wheeze) or clicks (crackles); their manifest, the events' and folds."""
    random, clips, events = np.random.default_rng(0), [], []
    time = np.arange(2 * RATE) / RATE
    for number in range(patients * records):
        name, patient = f"r{number:02d}", f"p{number // records}"
        wheeze, crackle = [(0, 0), (1, 0), (0, 1), (1, 1)][number % 4]
        place = int(random.integers(2))
        inside = (time >= place) & (time < place + 1)
        waveform = 0.02 * random.standard_normal(len(time)) + 0.2 * wheeze * inside * np.sin(2 * np.pi * random.uniform(300, 500) * time)
        waveform[RATE * place + random.integers(0, RATE, 20)] += 0.7 * crackle
        path = folder / f"{name}.wav"
        soundfile.write(path, waveform.clip(-1, 1), RATE, subtype="PCM_16")
        labels = {"normal": int(not wheeze and not crackle), "wheeze": wheeze, "crackle": crackle}
        poor = number == 5
        known: dict[str, int | None] = dict.fromkeys(labels) if poor else dict(labels)
        clips.append(Clip(name, str(path), name, patient=patient, quality="poor" if poor else "", labels=known))
        for index, (start_s, end_s) in enumerate(BREATHS if not poor else ()):
            heard = {label: value if index == place else int(label == "normal") for label, value in labels.items()}
            events.append(Clip(f"{name}-{index}", str(path), name, start_s, end_s, patient=patient, labels=dict(heard)))
    write_manifest(folder / "manifest.csv", to_table(clips))
    write_manifest(folder / "events.csv", to_table(events))
    main(["folds", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "folds.csv"), "--num-folds", "3"])


def write_network(path: Path) -> None:
    """The config of a network over the frames of a small one."""
    config: dict[str, Any] = yaml.safe_load((Path(__file__).resolve().parents[2] / "configs" / "baseline_events.yaml").read_text())
    settings = config["model"]["features"]["init_args"]
    settings["front_end"] = {"class_path": "common.frontends.LogMel", "init_args": {"num_mels": 32, "hop": 32}}
    # Six layers in, frames are 8 x 8 ms apart; two windows of a record.
    settings |= {"layers": [4, 6], "clip_s": 1.5}
    config["model"]["classifier"]["init_args"] |= {"units": 16, "epochs": 12, "batch_size": 8, "lr": 0.02}
    path.write_text(yaml.safe_dump(config))


def with_events(breaths: Path, out: Path, *more: str) -> list[str]:
    return [*arguments(breaths, breaths / "config.yaml", out, "--data.events", str(breaths / "events.csv")), *more]

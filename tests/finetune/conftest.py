"""Made clips in which a tone is a wheeze and clicks are crackles, easy for a tiny network in a few epochs; what is run on them once."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from made_annotated import with_events, write_breaths, write_network
from made_run import make_oof, write_run
from made_search import SPACE, search_arguments
from reported import report

from common.manifest import Clip, to_table, write_manifest
from finetune.__main__ import main

RATE = 4000

CONFIG = """
trainer:
  max_epochs: 5
  accelerator: cpu
  enable_progress_bar: false
  callbacks:
    - class_path: pytorch_lightning.callbacks.EarlyStopping
      init_args: {monitor: val/score, mode: max, patience: 2}
model:
  task: {class_path: finetune.tasks.multilabel.MultiLabel}
  front_end: {class_path: common.frontends.LogMel, init_args: {num_mels: 16}}
  encoder: {class_path: common.encoders.Cnn2d, init_args: {channels: [8, 16]}}
  clip_s: 1.0
  lr: 0.02
  dropout: 0.1
  waveform_augmentation: {class_path: common.augment.Gain}
data:
  batch_size: 8
tracking:
  wandb: disabled
"""


def write_clips(folder: Path, patients: int = 12, clips_per_patient: int = 4) -> pd.DataFrame:
    """Write recordings of 0.7 to 2.2 s and their manifest; one clip is of poor quality, one lacks a label. Returns the manifest."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(patients * clips_per_patient):
        name = f"r{number:03d}"
        wheeze, crackle = [(0, 0), (1, 0), (0, 1), (1, 1)][(number + number // clips_per_patient) % 4]
        time = np.arange(int(RATE * random.uniform(0.7, 2.2))) / RATE
        waveform = 0.02 * random.standard_normal(len(time)) + wheeze * 0.2 * np.sin(2 * np.pi * random.uniform(300, 500) * time)
        clicks = random.integers(0, len(time), 40)
        waveform[clicks] += crackle * random.uniform(0.5, 0.9, 40)
        soundfile.write(folder / f"{name}.wav", waveform.clip(-1, 1), RATE, subtype="PCM_16")
        labels: dict[str, int | None] = {"normal": int(not wheeze and not crackle), "wheeze": wheeze, "crackle": crackle}
        quality = "poor" if number == 5 else ""
        if number == 5:
            labels = dict.fromkeys(labels)
        if number == 6:
            labels["crackle"] = None
        path, patient = str(folder / f"{name}.wav"), number // clips_per_patient
        # Of no bearing on the labels; one patient's age is not known.
        metadata = {"age_years": 30 + 5 * patient if patient else None, "sex": "MF"[patient % 2]}
        clips.append(Clip(f"c{number:03d}", path, name, patient=f"p{patient}", quality=quality, labels=labels, metadata=metadata))
    return to_table(clips)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with manifest.csv, folds.csv (3 folds) and tiny.yaml, a config that trains in seconds."""
    folder = tmp_path_factory.mktemp("made")
    write_manifest(folder / "manifest.csv", write_clips(folder))
    (folder / "tiny.yaml").write_text(CONFIG)
    main(["folds", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "folds.csv"), "--num-folds", "3"])
    return folder


@pytest.fixture(scope="session")
def finished_run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of an undisturbed cross-validation of ``made``, and its figures."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv")]
    return folder, main(["crossval", "-c", str(made / "tiny.yaml"), *data, "--out", str(folder)])


@pytest.fixture(scope="session")
def exported_file(finished_run: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """That run as one TorchScript file, with one per fold beside it, and the figures of its export."""
    path = tmp_path_factory.mktemp("export") / "model.pt"
    return path, main(["export", "--run", str(finished_run[0]), "--out", str(path)])


@pytest.fixture(scope="session")
def model(exported_file: tuple[Path, dict[str, Any]]) -> torch.jit.ScriptModule:
    return torch.jit.load(str(exported_file[0]))


@pytest.fixture(scope="session")
def exported_run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is exported: of two folds, since every network's graph takes seconds to record."""
    folder, manifest = tmp_path_factory.mktemp("exported"), str(made / "manifest.csv")
    main(["folds", "--manifest", manifest, "--out", str(folder / "folds.csv"), "--num-folds", "2"])
    data = ["--data.manifest", manifest, "--data.folds", str(folder / "folds.csv")]
    main(["crossval", "-c", str(made / "tiny.yaml"), *data, "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture(scope="session")
def exported(exported_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A bundle of that run with all that it can hold, calibrated and signed by the key beside it, and the figures of its export."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "key").write_bytes(bytes(range(32)))
    options = ["--calibration", "platt", "--sign_key", str(folder / "key"), "--twins", "int8", "float16"]
    # A network that learnt in seconds from 48 clips may lose anything; what it loses is not what is tested.
    options += ["--twin_max_loss", "1"]
    return folder / "bundle", main(["export", "--run", str(exported_run), "--out", str(folder / "bundle"), *options])


@pytest.fixture
def bundle(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(exported[0], tmp_path / "bundle")


@pytest.fixture(scope="session")
def breaths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with manifest.csv, events.csv, folds.csv and config.yaml, a network over the frames of a smaller one."""
    folder = tmp_path_factory.mktemp("breaths")
    write_breaths(folder)
    write_network(folder / "config.yaml")
    return folder


@pytest.fixture(scope="session")
def taught_run(breaths: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a baseline over frames that the events of ``breaths`` taught, and its figures."""
    out = tmp_path_factory.mktemp("runs") / "events"
    return out, main(with_events(breaths, out))


@pytest.fixture(scope="session")
def searched(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a search of all three folds of ``made``, three trials each, and its figures."""
    out = tmp_path_factory.mktemp("searched") / "found"
    return out, main(search_arguments(made, out, SPACE, "--trials", "3"))


@pytest.fixture(scope="session")
def sound_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run of four folds with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "sound", make_oof())
    report(folder)
    return folder


@pytest.fixture(scope="session")
def troubled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without patients, with a transductive encoder and no crackle at all, and its report."""
    oof = make_oof(skill=0.4, seed=1)
    oof["patient"] = ""
    oof["target_crackle"] = 0
    encoder = {"source": "shared", "transductive": True, "file": "encoder.pt"}
    folder = tmp_path_factory.mktemp("runs") / "troubled"
    write_run(folder, oof, grouped_by="recording", encoder=encoder, manifest="<b>&.csv", git_commit=None)
    report(folder)
    return folder

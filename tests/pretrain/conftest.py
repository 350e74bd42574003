"""Made patients and a config that pretrains on them in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.files import write_csv
from common.manifest import Clip, to_table, write_manifest
from common.synthetic.takehome import write_takehome
from pretrain.__main__ import main

CONFIG = """
model:
  front_end: {class_path: common.frontends.log_mel.LogMel, init_args: {num_mels: 16}}
  encoder: {class_path: common.encoders.cnn.Cnn2d, init_args: {channels: [4, 8]}}
  waveform_augmentation: {class_path: common.augment.noise.ColouredNoise, init_args: {sample_rate: 4000, p: 0.5}}
  clip_s: 0.5
  warmup_epochs: 1
data:
  batch_size: 4
  validation_share: 0.25
trainer:
  max_epochs: 2
  accelerator: cpu
  enable_progress_bar: false
tracking:
  wandb: disabled
"""

Fit = Callable[..., Any]


@pytest.fixture(autouse=True)
def one_row_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run draws pairs of views of some clips, which takes longer than its training does here: of one clip."""
    monkeypatch.setattr("pretrain.monitor.views.CLIPS", 1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with manifest.csv (8 patients of 3 clips), folds.csv (2 folds by patient) and tiny.yaml."""
    folder = tmp_path_factory.mktemp("made")
    table = write_takehome(folder, patients=8, clips_per_patient=3, seconds=0.9)
    clips = [
        Clip(
            clip_id=row["filename"],
            path=str(folder / "train" / row["filename"]),
            recording=row["filename"],
            patient=row["patient"],
            labels={label: row[label] for label in ("normal", "wheeze", "crackle")},
        )
        for row in table.to_dict("records")
    ]
    manifest = to_table(clips)
    write_manifest(folder / "manifest.csv", manifest)
    fold = manifest["patient"].astype("category").cat.codes % 2
    write_csv(folder / "folds.csv", manifest[["clip_id", "recording", "patient"]].assign(fold=fold))
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def fit(made: Path) -> Fit:
    """Runs ``python -m pretrain fit`` on the made patients into the folder ``out``, with further arguments; returns its figures."""

    def run(out: Path, *args: str) -> Any:
        return main(["fit", "-c", str(made / "tiny.yaml"), "--data.manifest", str(made / "manifest.csv"), "--out", str(out), *args])

    return run

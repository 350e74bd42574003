"""Classical baselines on the made clips: their config and arguments, and what scikit-learn gives by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from common.audio.read import read_audio
from common.frontends import LogMel
from common.manifest import read_manifest

LABELS = ("normal", "wheeze", "crackle")
PACKAGE = "finetune.baseline"
CONFIG: dict[str, Any] = {
    "model": {
        "task": {"class_path": "finetune.tasks.multilabel.MultiLabel"},
        "features": {
            "class_path": f"{PACKAGE}.features.SpectrogramFeatures",
            "init_args": {"front_end": {"class_path": "common.frontends.LogMel", "init_args": {"num_mels": 16}}},
        },
        "classifier": {"class_path": f"{PACKAGE}.classifiers.Logistic", "init_args": {"c": 0.1}},
    }
}


def write_config(folder: Path) -> Path:
    path = folder / "baseline.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def arguments(made: Path, config: Path, out: Path, *more: str) -> list[str]:
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv")]
    return ["baseline", "-c", str(config), *data, "--out", str(out), *more]


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def by_hand(made: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, pd.DataFrame]:
    """Manifest, features and targets of ``made``, straight from the files and with numpy alone, and the folds."""
    table = read_manifest(made / "manifest.csv", LABELS)
    front_end, rows = LogMel(num_mels=16), []
    for path in table["path"]:
        waveform = torch.from_numpy(read_audio(path)[0]).float().reshape(1, -1)
        while waveform.shape[1] < 4000:
            waveform = torch.cat((waveform, waveform), dim=1)[:, :4000]
        spectrogram = front_end(waveform)[0, 0].double().numpy()
        parts = [spectrogram.mean(1), spectrogram.std(1), spectrogram.max(1)]
        rows.append(np.concatenate([*parts, *np.percentile(spectrogram, [10, 50, 90], axis=1)]).astype(np.float32))
    targets = table[list(LABELS)].to_numpy(float)
    targets[table["quality"] == "poor"] = np.nan
    return table, np.stack(rows), targets, pd.read_csv(made / "folds.csv")


def with_encoder(tmp_path: Path, **init_args: Any) -> Path:
    path = tmp_path / "encoder.yaml"
    features = {"class_path": f"{PACKAGE}.features.EncoderFeatures", "init_args": init_args}
    path.write_text(yaml.safe_dump({"model": {**CONFIG["model"], "features": features}}))
    return path

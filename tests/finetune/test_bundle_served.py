"""What ``finetune export`` wrote, served: the service answers as ``finetune predict`` does, by both kinds of file."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import soundfile

from finetune.__main__ import main
from tests.serve.made_bundle import made_clip
from tests.serve.serving import serving

TOLERANCE = 1e-5
CLIPS = {"short": (0.2, 4000, 1), "one": (1.3, 8000, 1), "stereo": (3.7, 44100, 2), "long": (12.0, 4000, 1), "odd": (2.0, 11025, 1)}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for seed, (name, (seconds, rate, channels)) in enumerate(CLIPS.items()):
        soundfile.write(folder / f"{name}.wav", made_clip(seconds, rate, seed, channels), rate, subtype="PCM_24")
    soundfile.write(folder / "silence.wav", np.zeros(8000), 4000)
    return folder


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_service_answers_as_predict_does(
    exported: tuple[Path, dict[str, Any]], recordings: Path, tmp_path: Path, backend: Literal["torch", "onnx"]
) -> None:
    main(["predict", "--model", str(exported[0] / "model.pt"), "--input", str(recordings), "--out", str(tmp_path / "predictions.csv")])
    offline = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    with serving(exported[0], backend=backend) as service:
        response = service.predict(*[Path(file).read_bytes() for file in offline["file"]])
        assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert len(results) == len(CLIPS) + 1
    for expected, result in zip(offline.to_dict("records"), results, strict=True):
        assert result["status"] == expected["status"] and " ".join(result["flags"]) == expected["reason"]
        for label in result["labels"]:
            assert abs(label["probability"] - expected[f"prob_{label['label']}"]) <= TOLERANCE, (expected["file"], label)
            assert label["decided"] == bool(expected[f"decided_{label['label']}"])

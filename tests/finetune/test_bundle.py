"""What is in a bundle: every file and key that the docs name, and golden clips that find a change."""

import json
import wave
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.audio.quality import CLIPPED, NOT_FINITE, SILENT
from finetune.__main__ import main
from finetune.bundle.contents import TESTED_WITH
from finetune.export.metadata import metadata
from finetune.run_folder import read_run_folder
from tests.docs.pages import ROOT, names, tables

RATE = 4000


@pytest.fixture(scope="module")
def described(exported: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return json.loads((exported[0] / "model.json").read_text())


def test_docs_name_every_file_and_every_key(exported: tuple[Path, dict[str, Any]], described: dict[str, Any]) -> None:
    page = ROOT / "docs" / "bundle.md"
    inside = names(tables(ROOT / "docs" / "files.md", "model.pt")[0])
    of_bundle, of_reference = tables(page, "model.json")
    assert names(of_bundle) - {"labels"} == described.keys() - inside and inside <= described.keys()
    assert names(of_reference) == described["reference"].keys()
    listed = names(tables(page, "Contents")[0])
    there = {path.relative_to(exported[0]).as_posix() for path in exported[0].rglob("*") if path.is_file()}
    spelt = {"golden/NAME.wav" if name.endswith(".wav") else name.replace("fold-0", "fold-K") for name in there}
    assert spelt - listed == {"folds/fold-1.pt"}
    assert listed - {"golden/NAME.wav", "folds/fold-K.pt"} <= there
    assert described["files"].keys() == there - {"model.json", "SIGNATURE"}
    clip = json.loads((exported[0] / "golden" / "expected.json").read_text())["clips"][0]
    assert names(tables(page, "Golden clips")[0]) == clip.keys()
    assert names(tables(page, "model.onnx")[0]) >= {given["name"] for given in described["onnx"]["inputs"]}


def test_model_json_says_what_a_service_needs(exported: tuple[Path, dict[str, Any]], described: dict[str, Any]) -> None:
    labels = ["normal", "wheeze", "crackle"]
    assert described["format"] == "auscult.model/1" and described["file_type"] == "bundle"
    assert described["labels"] == labels and described["onnx"]["sample_rate"] == described["sample_rate"] == RATE
    assert described["onnx"]["outputs"][0] == {"name": "probabilities", "type": "float32", "shape": ["B", 3]}
    for label in labels:
        low, high = described["abstain"][label]
        assert 0 <= low <= high <= 1
        assert sum(described["reference"]["probabilities"][label]) == described["reference"]["clips"] == 48
    assert described["reference"]["flags"]["silent"] == 0 and described["reference"]["flagged_clips"] == 48
    assert described["population"]["patients"] == 12 and described["population"]["labels"]["crackle"]["unknown"] == 2
    assert {of["column"] for of in described["groups"]} == {"age_group", "sex"}
    assert described["population"]["columns"]["sex"]["M"] == {"clips": 24, "patients": 6}
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert "not a diagnosis" in card and "48 clips of 48 recordings of 12 patients" in card
    some = next(of for of in described["groups"] if of["column"] == "sex" and of["auroc"] is not None)
    assert f"{some['auroc']:.3f} ({some['interval'][0]:.3f} to {some['interval'][1]:.3f})" in card


def test_the_bundle_keeps_no_path_of_the_machine_that_wrote_it(exported: tuple[Path, dict[str, Any]]) -> None:
    for name in ("model.onnx", "model.pt2", "golden/expected.json", "MODEL_CARD.md"):
        assert str(ROOT).encode() not in (exported[0] / name).read_bytes(), name


@pytest.mark.parametrize(
    ("lay_in", "kept"), [("/home/somebody/encoders/fold-0/encoder.pt", "encoder.pt"), ("work/encoders", "encoders"), (None, None)]
)
def test_it_names_the_encoder_file_without_its_folders(finished_run: tuple[Path, dict], lay_in: str | None, kept: str | None) -> None:
    run = read_run_folder(finished_run[0])
    encoder = {"source": "shared", "transductive": False, "file": lay_in, "sha256": ["ab" * 32]}
    thresholds = {"thresholds": [0.5] * 3, "rule": "youden"}
    described = metadata(replace(run, record={**run.record, "encoder": encoder}), [0], thresholds, {}, {}, {}, 0.0, {}, None)
    assert described["encoder"] == {**encoder, "file": kept}


def test_golden_clips_are_pcm_of_several_rates_and_lengths(exported: tuple[Path, dict[str, Any]]) -> None:
    golden = json.loads((exported[0] / "golden" / "expected.json").read_text())
    durations, rates = [], set()
    for clip in golden["clips"]:
        with wave.open(str(exported[0] / "golden" / clip["file"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, clip["sample_rate"])
            assert file.getnframes() == clip["samples"]
            durations.append(file.getnframes() / file.getframerate())
            rates.add(file.getframerate())
    assert min(durations) < 1.0 < max(durations) and rates == {RATE, 8000, 44100}
    flagged = {clip["name"]: clip["flags"] for clip in golden["clips"] if clip["flags"]}
    assert flagged == {"silence": SILENT, "clipped": CLIPPED, "nan": NOT_FINITE}
    # Answers that were all alike would find no change.
    assert np.ptp([clip["probabilities"] for clip in golden["clips"]], axis=0).max() > 0.05


def test_the_promise_names_the_versions_that_run_here() -> None:
    for package, versions in TESTED_WITH.items():
        assert ".".join(version(package).split(".")[:2]) in versions


def test_predict_takes_a_bundle(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    for name in ("bundle", "bundle/model.pt"):
        recording = str(exported[0] / "golden" / "long.wav")
        main(["predict", "--model", str(exported[0].parent / name), "--input", recording, "--out", str(tmp_path / Path(name).name)])
    assert (tmp_path / "bundle").read_text() == (tmp_path / "model.pt").read_text()

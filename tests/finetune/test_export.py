"""The exported file: opens with torch alone, and answers as the run did."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from blocked_imports import without
from made_noise import noise

from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.evaluation.calibration.cross_fit import calibrate
from finetune.evaluation.out_of_fold import read_out_of_fold
from finetune.run_folder import read_run_folder

RATE = 4000

# Runs in a process of its own: whatever is not torch (or what torch itself needs) cannot be imported there.
TORCH_ONLY = """
import json
import torch

extra = {{"model.json": "", "MODEL_CARD.md": ""}}
model = torch.jit.load({path!r}, _extra_files=extra)
waveform = torch.load({waveform!r}, weights_only=True)
probabilities, flags = model(waveform, 4000)
print(json.dumps({{
    "probabilities": probabilities.tolist(), "flags": flags.tolist(), "labels": list(model.labels), "thresholds": list(model.thresholds),
    "rate": model.sample_rate, "description": json.loads(extra["model.json"]), "card": extra["MODEL_CARD.md"].decode(),
}}))
"""
BLOCKED = (
    "common",
    "finetune",
    "pretrain",
    "serve",
    "nnAudio",
    "timm",
    "pytorch_lightning",
    "torchaudio",
    "sklearn",
    "pandas",
    "soundfile",
)


def test_a_fold_file_answers_what_the_fold_predicted_out_of_fold(
    made: Path, finished_run: tuple[Path, dict], exported_file: tuple[Path, dict]
) -> None:
    manifest = read_manifest(made / "manifest.csv").set_index("clip_id")
    predictions = pd.read_csv(finished_run[0] / "oof.csv").set_index("clip_id")
    for fold, path in enumerate(exported_file[1]["fold_models"]):
        fold_model = torch.jit.load(path)
        held_out = predictions[predictions["fold"] == fold].head(6)
        for clip_id, row in held_out.iterrows():
            waveform, rate = soundfile.read(manifest.loc[clip_id, "path"], dtype="float32")
            answered, _ = fold_model(torch.from_numpy(waveform)[None], rate)
            np.testing.assert_allclose(answered[0].detach(), row[["prob_normal", "prob_wheeze", "prob_crackle"]].astype(float), atol=1e-5)


def test_the_file_averages_its_folds(exported_file: tuple[Path, dict], model: torch.jit.ScriptModule) -> None:
    waveform = noise(2, 3 * RATE)
    single = [torch.jit.load(path)(waveform, RATE)[0] for path in exported_file[1]["fold_models"]]
    torch.testing.assert_close(model(waveform, RATE)[0], torch.stack(single).mean(dim=0), atol=1e-6, rtol=0)
    assert (single[0] - single[1]).abs().max() > 1e-4


def test_batch_norms_are_in_their_convolutions_and_these_compute_with_channels_last(model: torch.jit.ScriptModule) -> None:
    for network in model.networks.children():
        graph = network.inlined_graph
        assert "batch_norm" not in str(graph)
        weights = [node.inputsAt(1).toIValue() for node in graph.findAllNodes("aten::_convolution")]
        images = [weight for weight in weights if weight.dim() == 4]
        assert images and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in images)


@pytest.mark.parametrize("calibration", ["platt", "isotonic", "fold_platt"])
def test_calibrators_leave_inside_the_file_and_thresholds_refer_to_them(
    finished_run: tuple[Path, dict], exported_file: tuple[Path, dict], tmp_path: Path, calibration: Any
) -> None:
    run, path = read_run_folder(finished_run[0]), tmp_path / "model.pt"
    options = ["--calibration", calibration, "--sensitivity", "0.9"]
    found = main(["export", "--run", str(finished_run[0]), "--out", str(path), *options])
    predictions = read_out_of_fold(run.path / "oof.csv", run.task.labels)
    calibrators = calibrate(predictions, calibration, run.validation()).exported
    waveform = noise(3, 3 * RATE)
    singles = []
    for fold, raw, calibrated in zip(calibrators, exported_file[1]["fold_models"], found["fold_models"], strict=True):
        expected = calibrators[fold].numpy(torch.jit.load(raw)(waveform, RATE)[0].detach().numpy())
        singles.append(torch.jit.load(calibrated)(waveform, RATE)[0].detach())
        np.testing.assert_allclose(singles[-1], expected, atol=1e-5)
    extra = {"model.json": "", "MODEL_CARD.md": ""}
    model = torch.jit.load(str(path), _extra_files=extra)
    torch.testing.assert_close(model(waveform, RATE)[0].detach(), torch.stack(singles).mean(dim=0), atol=1e-5, rtol=0)
    description = json.loads(extra["model.json"])
    assert description["calibration"]["choice"] == calibration and set(description["calibration"]["folds"]) == {"0", "1", "2"}
    assert (description["threshold_rule"], description["threshold_sensitivity"]) == ("sensitivity", 0.9)
    assert found["thresholds"] != exported_file[1]["thresholds"]
    assert f"Calibration: {calibration}, fitted on clips" in extra["MODEL_CARD.md"].decode()


def test_it_opens_and_answers_where_there_is_only_torch(
    exported_file: tuple[Path, dict], model: torch.jit.ScriptModule, tmp_path: Path
) -> None:
    waveform = noise(3, 6000)
    torch.save(waveform, tmp_path / "waveform.pt")
    code = without(BLOCKED, TORCH_ONLY.format(path=str(exported_file[0]), waveform=str(tmp_path / "waveform.pt")))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    expected, flags = model(waveform, RATE)
    np.testing.assert_allclose(answer["probabilities"], expected.detach(), atol=1e-6)
    assert answer["flags"] == flags.tolist() == [0, 0, 0]
    assert answer["labels"] == ["normal", "wheeze", "crackle"] and answer["rate"] == RATE
    assert answer["thresholds"] == exported_file[1]["thresholds"]
    description = answer["description"]
    assert description["folds"] == [0, 1, 2] and description["parity"] <= 1e-5
    assert {"versions", "data_hash", "git_commit", "task", "out_of_fold", "clip_s"} <= set(description)
    assert "not a diagnosis" in answer["card"]


def test_export_of_no_run_is_one_sentence_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "--run", str(tmp_path / "none"), "--out", str(tmp_path / "model.pt")])
    assert stopped.value.code == 1
    assert "No run at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

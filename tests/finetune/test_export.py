"""The exported file: opens with torch alone, answers as the run did, and no row's answer depends on another's."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.audio.quality import CLIPPED, CONSTANT, NOT_FINITE, SILENT, TOO_SHORT
from common.encoders import Ast, Cnn1d, Cnn2d, Crnn, EfficientAT, Encoder, Panns
from common.frontends import BandPass, FrontEnd, KaldiLogMel, LogMel, Mfcc, PannsLogMel, Stacked
from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.evaluation.calibration.cross_fit import calibrate
from finetune.evaluation.out_of_fold import read_out_of_fold
from finetune.export.exported_model import ExportedModel
from finetune.export.file import largest_difference, script
from finetune.export.networks import Network, trace
from finetune.run_folder import read_run_folder
from finetune.tasks.multilabel import MultiLabel

RATE = 4000

# Runs in a process of its own: whatever is not torch (or what torch itself needs) cannot be imported there.
TORCH_ONLY = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not there for the service team")

sys.meta_path.insert(0, Blocked())
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


@pytest.fixture(scope="module")
def exported(finished_run: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    path = tmp_path_factory.mktemp("export") / "model.pt"
    return path, main(["export", "--run", str(finished_run[0]), "--out", str(path)])


@pytest.fixture(scope="module")
def model(exported: tuple[Path, dict]) -> torch.jit.ScriptModule:
    return torch.jit.load(str(exported[0]))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_fold_file_answers_what_the_fold_predicted_out_of_fold(
    made: Path, finished_run: tuple[Path, dict], exported: tuple[Path, dict]
) -> None:
    manifest = read_manifest(made / "manifest.csv").set_index("clip_id")
    predictions = pd.read_csv(finished_run[0] / "oof.csv").set_index("clip_id")
    for fold, path in enumerate(exported[1]["fold_models"]):
        fold_model = torch.jit.load(path)
        held_out = predictions[predictions["fold"] == fold].head(6)
        for clip_id, row in held_out.iterrows():
            waveform, rate = soundfile.read(manifest.loc[clip_id, "path"], dtype="float32")
            answered, _ = fold_model(torch.from_numpy(waveform)[None], rate)
            np.testing.assert_allclose(answered[0].detach(), row[["prob_normal", "prob_wheeze", "prob_crackle"]].astype(float), atol=1e-5)


def test_the_file_averages_its_folds(exported: tuple[Path, dict], model: torch.jit.ScriptModule) -> None:
    waveform = noise(2, 3 * RATE)
    single = [torch.jit.load(path)(waveform, RATE)[0] for path in exported[1]["fold_models"]]
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
    finished_run: tuple[Path, dict], exported: tuple[Path, dict], tmp_path: Path, calibration: Any
) -> None:
    run, path = read_run_folder(finished_run[0]), tmp_path / "model.pt"
    options = ["--calibration", calibration, "--sensitivity", "0.9"]
    found = main(["export", "--run", str(finished_run[0]), "--out", str(path), *options])
    predictions = read_out_of_fold(run.path / "oof.csv", run.task.labels)
    calibrators = calibrate(predictions, calibration, run.validation()).exported
    waveform = noise(3, 3 * RATE)
    singles = []
    for fold, raw, calibrated in zip(calibrators, exported[1]["fold_models"], found["fold_models"], strict=True):
        expected = calibrators[fold].numpy(torch.jit.load(raw)(waveform, RATE)[0].detach().numpy())
        singles.append(torch.jit.load(calibrated)(waveform, RATE)[0].detach())
        np.testing.assert_allclose(singles[-1], expected, atol=1e-5)
    extra = {"model.json": "", "MODEL_CARD.md": ""}
    model = torch.jit.load(str(path), _extra_files=extra)
    torch.testing.assert_close(model(waveform, RATE)[0].detach(), torch.stack(singles).mean(dim=0), atol=1e-5, rtol=0)
    description = json.loads(extra["model.json"])
    assert description["calibration"]["choice"] == calibration and set(description["calibration"]["folds"]) == {"0", "1", "2"}
    assert (description["threshold_rule"], description["threshold_sensitivity"]) == ("sensitivity", 0.9)
    assert found["thresholds"] != exported[1]["thresholds"]
    assert f"Calibration: {calibration}, fitted on clips" in extra["MODEL_CARD.md"].decode()


def test_it_opens_and_answers_where_there_is_only_torch(exported: tuple[Path, dict], model: torch.jit.ScriptModule, tmp_path: Path) -> None:
    waveform = noise(3, 6000)
    torch.save(waveform, tmp_path / "waveform.pt")
    code = TORCH_ONLY.format(blocked=BLOCKED, path=str(exported[0]), waveform=str(tmp_path / "waveform.pt"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    expected, flags = model(waveform, RATE)
    np.testing.assert_allclose(answer["probabilities"], expected.detach(), atol=1e-6)
    assert answer["flags"] == flags.tolist() == [0, 0, 0]
    assert answer["labels"] == ["normal", "wheeze", "crackle"] and answer["rate"] == RATE
    assert answer["thresholds"] == exported[1]["thresholds"]
    description = answer["description"]
    assert description["folds"] == [0, 1, 2] and description["parity"] <= 1e-5
    assert {"versions", "data_hash", "git_commit", "task", "out_of_fold", "clip_s"} <= set(description)
    assert "not a diagnosis" in answer["card"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(lengths=[1, 1, 6], rate=44100, seed=1).via("clips of one sample are constant once they are repeated to fill a window")
@given(
    lengths=st.lists(st.integers(1, 9000), min_size=1, max_size=4),
    rate=st.sampled_from([4000, 8000, 11025, 44100]),
    seed=st.integers(0, 100),
)
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(
    model: torch.jit.ScriptModule, lengths: list[int], rate: int, seed: int
) -> None:
    waveforms = [noise(length, seed=seed + number) for number, length in enumerate(lengths)]
    batch = torch.full((len(lengths), max(lengths) + 7), 9.0)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    with torch.inference_mode():
        together, flags = model(batch, rate, torch.tensor(lengths))
        for number, waveform in enumerate(waveforms):
            alone, alone_flags = model(waveform[None], rate)
            torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=0)
            assert flags[number] == alone_flags[0]


def test_faults_are_flagged_and_answered_with_finite_numbers(model: torch.jit.ScriptModule) -> None:
    good, silent, constant, not_finite, short = (noise(2 * RATE) for _ in range(5))
    silent[:], constant[:], not_finite[100] = 0.0, 0.25, torch.nan
    clipped = (3 * torch.sin(torch.arange(2 * RATE) * 0.31)).clamp(-1, 1)
    lengths = torch.tensor([2 * RATE] * 4 + [int(0.05 * RATE), 2 * RATE])
    probabilities, flags = model(torch.stack([good, silent, constant, not_finite, short, clipped]), RATE, lengths)
    assert flags.tolist() == [0, SILENT, CONSTANT, NOT_FINITE, TOO_SHORT, CLIPPED]
    assert torch.isfinite(probabilities).all()


@pytest.mark.parametrize("samples", [0, 1, 63, 2 * 60 * RATE])
def test_any_length_is_answered(model: torch.jit.ScriptModule, samples: int) -> None:
    with torch.inference_mode():
        probabilities, _ = model(noise(1, samples), RATE)
    assert probabilities.shape == (1, 3) and torch.isfinite(probabilities).all()


def test_an_empty_batch_is_answered_with_an_empty_one(model: torch.jit.ScriptModule) -> None:
    probabilities, flags = model(torch.zeros(0, RATE), RATE)
    assert probabilities.shape == (0, 3) and flags.shape == (0,)


@pytest.mark.parametrize(
    ("waveform", "rate", "lengths", "named"),
    [
        (torch.zeros(8), RATE, None, "dimensions"),
        (torch.zeros(2, 8), RATE, torch.tensor([8]), "one length for each"),
        (torch.zeros(1, 8), 0, None, "positive number of Hz"),
        (torch.zeros(1, 8), 192001, None, "no usable common divisor"),
    ],
)
def test_wrong_calls_are_refused_by_name(
    model: torch.jit.ScriptModule, waveform: torch.Tensor, rate: int, lengths: torch.Tensor | None, named: str
) -> None:
    with pytest.raises(Exception, match=named):
        model(waveform, rate, lengths)


class Loudness(torch.nn.Module):
    """A network small enough to work out by hand: the share of samples above 0."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return (windows > 0).float().mean(dim=1, keepdim=True)


def wrapped(short_clips: str, aggregate: str) -> ExportedModel:
    return ExportedModel([Loudness()], ["loud"], [0.5], RATE, 1000, 500, short_clips, aggregate).eval()


@pytest.mark.parametrize(
    ("short_clips", "aggregate", "expected"), [("repeat", "mean", 0.9), ("pad", "mean", 0.36), ("repeat", "max", 0.9), ("pad", "max", 0.36)]
)
def test_a_short_clip_is_filled_as_in_training(short_clips: str, aggregate: str, expected: float) -> None:
    waveform = torch.ones(1, 400)
    waveform[0, :40] = -1.0
    # 400 samples repeat 2.5 times in a window of 1000: 120 of them are negative when the last half holds the first 40 again.
    repeated = (400 - 40) * 2 + (200 - 40)
    answered = wrapped(short_clips, aggregate)(waveform, RATE)[0].item()
    assert answered == pytest.approx(repeated / 1000 if short_clips == "repeat" else 0.36)
    assert answered == pytest.approx(expected, abs=0.03)


def test_a_long_clip_is_covered_by_windows_that_end_with_it() -> None:
    waveform = torch.full((1, 1700), -1.0)
    waveform[0, 1500:] = 1.0
    # Windows start at 0, 500 and 700: shares 0, 0 and 0.2.
    assert wrapped("repeat", "mean")(waveform, RATE)[0].item() == pytest.approx(0.2 / 3)
    assert wrapped("repeat", "max")(waveform, RATE)[0].item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("front_end", "make"),
    [
        (KaldiLogMel(), lambda: EfficientAT(0.1, None, 1.0)),
        (PannsLogMel(), lambda: Panns("cnn6")),
        (Mfcc(num_coefficients=13), lambda: Cnn1d(num_bins=13, channels=(4, 8))),
        (Stacked([LogMel(), Mfcc(num_coefficients=13)]), lambda: Cnn2d((4, 8))),
        (BandPass(LogMel()), lambda: Crnn((4, 8), hidden=8)),
        (BandPass(Stacked([LogMel(num_mels=32), Mfcc(num_mels=32)]), None, 900.0), lambda: Ast(stride=16, num_bins=64, num_frames=128)),
        (LogMel(sample_rate=48000, n_fft=2048, hop=768), lambda: Cnn2d((4, 8))),
    ],
    ids=["efficientat", "panns", "mfcc", "stacked", "band_pass_crnn", "ast", "48_khz"],
)
def test_networks_of_each_kind_leave_as_they_answer(front_end: FrontEnd, make: Callable[[], Encoder], tmp_path: Path) -> None:
    task = MultiLabel()
    # Before the network is made, so that its weights do not depend on what other tests drew.
    torch.manual_seed(0)
    encoder = make()
    classifier = Classifier(task, front_end, encoder, clip_s=0.5).eval()
    window = round(0.5 * front_end.sample_rate)
    # Statistics of batch norm as after training: with those of a new network next to nothing reaches the output.
    encoder.train()(front_end(noise(8, window)))
    encoder.eval()

    def wrapped(network: torch.nn.Module) -> ExportedModel:
        labels = list(task.labels)
        return ExportedModel([network], labels, [0.5] * 3, front_end.sample_rate, window, window // 2, "repeat", "mean").eval()

    compiled = script(wrapped(trace(classifier, window)))
    assert largest_difference(compiled, wrapped(Network(classifier).eval())) <= 1e-5
    compiled.save(str(tmp_path / "model.pt"))
    # Unlike in spectrum, since all white noise is alike to a network that has heard none else.
    waveform = noise(2, 3 * RATE)
    waveform[1] = waveform[1].cumsum(0) / 30
    answered, _ = torch.jit.load(str(tmp_path / "model.pt"))(waveform, RATE)
    torch.testing.assert_close(answered, compiled(waveform, RATE)[0])
    assert (answered[0] - answered[1]).abs().max() > 1e-4


def test_a_compiled_file_that_answers_otherwise_is_refused() -> None:
    class Off(Loudness):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return super().forward(windows) + 1e-3

    compiled = script(
        ExportedModel([torch.jit.trace(Loudness(), noise(2, 1000))], ["loud"], [0.5], RATE, 1000, 500, "repeat", "mean").eval()
    )
    other = ExportedModel([Off()], ["loud"], [0.5], RATE, 1000, 500, "repeat", "mean").eval()
    assert largest_difference(compiled, wrapped("repeat", "mean")) <= 1e-5
    with pytest.raises(Exception, match="differs from the model"):
        largest_difference(compiled, other)


def test_export_of_no_run_is_one_sentence_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "--run", str(tmp_path / "none"), "--out", str(tmp_path / "model.pt")])
    assert stopped.value.code == 1
    assert "No run at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""The ONNX backend: the service resamples as ``model.pt`` does, and judges a recording as it was made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from common.audio.resample import kernel_numbers
from common.audio.resample import resample as reference
from common.errors import UserError
from finetune.export.quality_file import write_quality
from serve.engine import load_model
from serve.errors import Refusal, StartError
from serve.resample import resample
from tests.serve.made_bundle import RATE, golden_clips, made_clip, made_onnx_bundle, tiny_model, write_description
from tests.serve.serving import serving, wav

RATES = [(44100, 16000), (44100, 4000), (4000, 16000), (8000, 4000), (11025, 4000), (48000, 44100), (22050, 32000), (11025, 32000)]


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("samples", [1, 7, 1001, 30011])
def test_resampling_is_that_of_the_model_s_file(from_hz: int, to_hz: int, samples: int) -> None:
    waveform = 0.3 * np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32)
    expected = reference(torch.from_numpy(waveform), from_hz, to_hz).numpy()
    found = resample(waveform, from_hz, to_hz)
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-6


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_resampling_is_the_windowed_sum(from_hz: int, to_hz: int) -> None:
    """y(t) = sum over n of x[n] h(t - n / from_hz), with h a sinc in a Kaiser window of 64 zero crossings; in float64, sample by sample."""
    waveform = 0.3 * np.random.default_rng(0).normal(size=400).astype(np.float32)
    cutoff = min(from_hz, to_hz) * 0.9475937167399596
    found = resample(waveform[np.newaxis], from_hz, to_hz)[0]
    for number in range(0, len(found), 7):
        crossings = cutoff * (number / to_hz - np.arange(400) / from_hz)
        within = np.abs(crossings) <= 64
        window = np.i0(14.769656459379492 * np.sqrt(np.where(within, 1 - (crossings / 64) ** 2, 0))) / np.i0(14.769656459379492)
        exact = (waveform * within * np.sinc(crossings) * window).sum() * cutoff / from_hz
        assert abs(found[number] - exact) < 1e-6


def test_rates_without_a_common_divisor_are_refused() -> None:
    with pytest.raises(Refusal) as refused:
        resample(np.zeros((1, 10), np.float32), 44101, 16000)
    assert refused.value.reason == "unsupported_rate"


@pytest.mark.parametrize("from_hz", [44101, 32003, 24008, 22255, 22253, 16001, 12345, 11127])
def test_the_rates_that_are_refused_are_those_of_the_model_s_file(from_hz: int) -> None:
    def refused(call: Callable[[], object], error: type[Exception]) -> bool:
        try:
            call()
        except error:
            return True
        return False

    ours = refused(lambda: resample(np.zeros((1, 10), np.float32), from_hz, 4000), Refusal)
    assert ours == refused(lambda: reference(torch.zeros(1, 10), from_hz, 4000), UserError) == (kernel_numbers(from_hz, 4000) > 2**24)


def mean_heard(waveform: np.ndarray) -> np.ndarray:
    """The tiny model's probabilities by its formula."""
    return 1 / (1 + np.exp(-np.abs(waveform).mean() * np.array([-8.0, 4.0, 20.0])))


def with_quality(bundle: Path) -> Path:
    """A bundle, now with the file that judges recordings at any rate."""
    description = json.loads((bundle / "model.json").read_text())
    write_description(bundle, {**description, "onnx": {**description["onnx"], "quality": write_quality(bundle)}})
    return bundle


@pytest.mark.parametrize("quality", [True, False])
def test_other_rates_are_resampled_and_judged_as_they_were_recorded(tmp_path: Path, quality: bool) -> None:
    bundle = made_onnx_bundle(tmp_path / "bundle")
    engine = load_model(with_quality(bundle) if quality else bundle, "onnx", threads=1).engine
    loud, short = made_clip(1.0, 8000, 3)[:, 0], made_clip(0.099, 8000, 1)[:, 0]
    broken = made_clip(0.7, 8000, 2)[:, 0]
    broken[100] = np.nan
    rows = [loud, short, broken, np.zeros(4000, np.float32)]
    padded = np.full((len(rows), 9000), 0.5, np.float32)
    for row, waveform in zip(padded, rows, strict=True):
        row[: len(waveform)] = waveform
    lengths = np.array([len(row) for row in rows])
    probabilities, flags = engine.answer(padded, 8000, lengths, None)
    assert flags.tolist() == [0, 4, 8, 1]
    for answer, waveform in zip(probabilities, rows, strict=True):
        heard = reference(torch.from_numpy(np.nan_to_num(waveform)), 8000, RATE).numpy()
        assert np.abs(answer - mean_heard(heard)).max() < 1e-6
    at_its_rate, flags = engine.answer(padded, RATE, lengths, None)
    assert flags.tolist() == [0, 0, 8, 1] and np.abs(at_its_rate[0] - mean_heard(loud)).max() < 1e-6


def test_clipping_is_found_before_resampling_rounds_it_off(tmp_path: Path) -> None:
    engine = load_model(with_quality(made_onnx_bundle(tmp_path / "bundle")), "onnx", threads=1).engine
    clipped = np.clip(2 * np.sin(2 * np.pi * 200 * np.arange(32000) / 32000), -1, 1).astype(np.float32)[np.newaxis]
    assert engine.answer(clipped, 32000, np.array([32000]), None)[1].tolist() == [2]
    assert engine.answer(0.4 * clipped, 32000, np.array([3199]), None)[1].tolist() == [2 | 4]


def test_the_service_answers_with_it(tmp_path: Path) -> None:
    loud = made_clip(1.0, 16000, 3)
    with serving(made_onnx_bundle(tmp_path / "bundle"), backend="onnx") as service:
        (result,) = service.predict(wav(loud, 16000, "FLOAT")).json()["results"]
        assert service.client.get("/v1/model").json()["backend"] == "onnx"
    heard = reference(torch.from_numpy(loud[:, 0]), 16000, RATE).numpy()
    assert np.allclose([label["probability"] for label in result["labels"]], mean_heard(heard), atol=1e-6)


def test_a_twin_in_fewer_bits_is_served_and_held_to_its_own_golden_answers(tmp_path: Path) -> None:
    bundle = made_onnx_bundle(tmp_path / "bundle")
    golden = {"tolerance": 0.02, "clips": golden_clips(bundle / "golden", tiny_model(0))[:1]}
    waveform = made_clip(0.4, RATE, 0)[:, 0]
    golden["clips"][0]["probabilities"] = mean_heard(waveform).tolist()
    (bundle / "golden" / "expected.int8.json").write_text(json.dumps(golden))
    shutil.copy(bundle / "model.onnx", bundle / "model.int8.onnx")
    description = json.loads((bundle / "model.json").read_text())
    twin = {"file": "model.int8.onnx", "golden": {"expected": "golden/expected.int8.json", "tolerance": 0.02}}
    write_description(bundle, {**description, "twins": {"int8": twin, "float16": {"reason": "it loses too much"}}})
    found, _ = load_model(bundle, "onnx-int8", threads=1).engine.answer(waveform[np.newaxis], RATE, np.array([len(waveform)]), None)
    assert np.allclose(found[0], mean_heard(waveform), atol=1e-5)
    with pytest.raises(StartError, match=r"has no model.float16.onnx \(it loses too much\)"):
        load_model(bundle, "onnx-float16", threads=1)
    golden["clips"][0]["probabilities"][0] += 0.03
    (bundle / "golden" / "expected.int8.json").write_text(json.dumps(golden))
    write_description(bundle, json.loads((bundle / "model.json").read_text()))
    with pytest.raises(StartError, match="at most 2e-02 is allowed"):
        load_model(bundle, "onnx-int8", threads=1)

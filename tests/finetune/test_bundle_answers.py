"""A bundle's kinds of file answer alike: any batch of any length, and what is no recording."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from made_noise import noise

from common.audio.quality import CONSTANT, NOT_FINITE, SILENT, TOO_SHORT
from finetune.__main__ import main

RATE = 4000


@pytest.fixture(scope="module")
def answers(exported: tuple[Path, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the three kinds of file answer: name -> function of a waveform [B, T] and lengths [B]."""
    file = torch.jit.load(str(exported[0] / "model.pt"))
    session = onnxruntime.InferenceSession(str(exported[0] / "model.onnx"), providers=["CPUExecutionProvider"])
    program = torch.export.load(exported[0] / "model.pt2").module()

    def onnx(waveform: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        found = session.run(["probabilities", "flags"], {"waveform": waveform.numpy(), "lengths": lengths.numpy()})
        return [torch.from_numpy(value) for value in found]

    with torch.inference_mode():
        yield {"pt": lambda waveform, lengths: file(waveform, RATE, lengths), "onnx": onnx, "pt2": program}


def test_it_verifies_with_every_runtime(exported: tuple[Path, dict[str, Any]]) -> None:
    bundle, figures = exported
    assert figures["onnx"] <= 1e-5 and figures["pt2"] <= 1e-5 and figures["parity"] <= 1e-5
    found = main(["verify", "--bundle", str(bundle), "--key", str(bundle.parent / "key")])
    assert found["signature"] == "valid" and found["files"] == len(json.loads((bundle / "model.json").read_text())["files"])
    assert (found["torch"]["clips"], found["onnx"]["clips"], found["onnx"]["at_other_rates"]) == (8, 6, 2)
    assert found["torch"]["largest_difference"] <= 1e-6 and found["onnx"]["largest_difference"] <= 1e-5
    # The words of issue trackers and shells: without an option's name.
    assert main(["verify", str(bundle)])["signature"] == "not checked"


@pytest.mark.parametrize("lengths", [[400], [1], [RATE], [RATE + 1, 3], [9000, 400, 4000, 1], [60 * RATE, 7], [600 * RATE]], ids=str)
def test_each_kind_of_file_answers_any_batch_of_any_length(answers: dict[str, Any], lengths: list[int]) -> None:
    waveform = noise(len(lengths), max(lengths), seed=len(lengths))
    expected, flags = answers["pt"](waveform, torch.tensor(lengths))
    for kind in ("onnx", "pt2"):
        answered, answered_flags = answers[kind](waveform, torch.tensor(lengths))
        torch.testing.assert_close(answered, expected, atol=1e-5, rtol=0)
        assert torch.equal(answered_flags, flags), kind


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_faults_are_flagged_by_each_kind_of_file(answers: dict[str, Any], kind: str) -> None:
    waveform = noise(5, 2 * RATE)
    waveform[1], waveform[2], waveform[3, 100] = 0.0, 0.25, torch.nan
    lengths = torch.tensor([2 * RATE] * 4 + [RATE // 20])
    expected, _ = answers["pt"](waveform, lengths)
    answered, flags = answers[kind](waveform, lengths)
    assert flags.tolist() == [0, SILENT, CONSTANT, NOT_FINITE, TOO_SHORT]
    torch.testing.assert_close(answered, expected, atol=1e-5, rtol=0)
    # What lies beyond a length, and the other rows, must not count.
    waveform[4, RATE // 20 :] = 9.0
    torch.testing.assert_close(answers[kind](waveform[4:], lengths[4:])[0], answered[4:], atol=1e-5, rtol=0)

"""The benchmark of pretraining runs through to its last line, at a size that takes seconds; its figures depend on the machine."""

import json

import pytest

from benchmarks import pretrain_throughput
from benchmarks.throughput import encoder_alone


def test_the_throughput_of_the_three_ways(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pretrain_throughput, "ENCODERS", {"": "test_resnet"})
    monkeypatch.setattr(encoder_alone, "PEAK_SIZES", {"cpu": (256, 16, 8, 2)})
    monkeypatch.setattr(pretrain_throughput, "PATIENTS", 3)
    monkeypatch.setattr(pretrain_throughput, "CLIPS_PER_PATIENT", 3)
    size = ("--file-seconds", "2", "--clip-s", "1", "--batch-size", "4", "--steps", "1", "--rounds", "2", "--workers", "0")
    pretrain_throughput.main([*size, "--precision", "32-true"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["step_over_encoder"] > 0 and figures["step_over_dataloader"] > 0
    detail = figures["detail"]
    assert detail["step_over_encoder"]["lowest"] <= detail["step_over_encoder"]["median"] <= detail["step_over_encoder"]["highest"]
    # What a part takes alone is less than a step, and the parts are those of the step.
    assert set(detail["parts_ms"]) >= {"read_crops", "waveform_augmentation", "front_end", "loss"}
    assert detail["peak_memory_gb"] > 0

"""The inference benchmark: it runs through at a size that takes seconds, and its ways and its turns are what the figures claim."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmarks import inference
from benchmarks.latency.timing import Way, in_turns, ratio, summary
from benchmarks.latency.ways import windows_of
from common.encoders import Cnn2d
from common.frontends import LogMel
from finetune.classifier import Classifier
from finetune.tasks.multilabel import MultiLabel


def test_it_runs_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((inference.ROOT / "configs/finetune.yaml").read_text())
    config["model"]["encoder"] = {"class_path": "common.encoders.Cnn2d", "init_args": {"channels": [4, 8]}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    size = ("--seconds", "0", "--threads", "1", "--lengths", "1", "--batches", "1", "3", "--starts", "1", "--minutes", "0.2")
    inference.main(["--config", str(tmp_path / "small.yaml"), *size])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert min(figures[key] for key in ("over_librosa", "onnx_over_librosa", "over_network", "cold_start_s", "torch_cold_start_s")) > 0
    apart = figures["headline"]["largest_difference"]
    assert apart["eager"] <= 1e-5 and apart["librosa"] < 0.02
    assert [case["batch"] for case in figures["cases"]] == [1, 3] and figures["cases"][0]["onnx"]["rounds"] == 1
    assert set(figures["parts_ms"]) >= {"read", "resample", "quality_flags", "network"} and min(figures["parts_ms"].values()) > 0
    (memory,) = figures["memory_mb"]
    assert memory["minutes"] == 0.2 and memory["in_blocks"] > 50 and memory["one_call"] > 50


def test_the_largest_cases_get_one_round_and_a_small_warm_up() -> None:
    heard: list[tuple[str, int]] = []

    def way(name: str) -> Way:
        def answer(paths: Sequence[Path]) -> None:
            heard.append((name, len(paths)))

        return answer

    paths = [Path(str(number)) for number in range(5)]
    assert set(map(len, in_turns({"a": way("a"), "b": way("b")}, paths, seconds=0).values())) == {1}
    assert heard == [("a", 2), ("b", 2), ("a", 5), ("b", 5)]
    heard.clear()
    # A round takes pauses of 170 ms.
    rounds = len(in_turns({"a": way("a"), "b": way("b")}, paths, seconds=0.5)["a"])
    assert 2 <= rounds <= 3 and heard[2:] == [("a", 5), ("b", 5)] * rounds


def test_figures_are_medians_over_rounds() -> None:
    found = summary({"a": [0.010, 0.020, 0.090], "b": [0.001] * 99 + [0.1]}, audio_s=10.0)
    assert found["a"] == {"p50_ms": 20.0, "p99_ms": None, "rounds": 3, "real_time_factor": 0.002}
    assert found["b"]["p50_ms"] == 1.0 and found["b"]["p99_ms"] == pytest.approx(1.99)
    assert ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0]) == 3.0


def test_the_ways_hear_the_windows_of_the_model() -> None:
    """Ten seconds in windows of 8 s, 4 s apart: the second one ends with the recording. Three seconds are repeated."""
    classifier = Classifier(MultiLabel(), LogMel(), Cnn2d((4, 8)), clip_s=8.0).eval()
    waveform = torch.arange(2 * 40000, dtype=torch.float32).reshape(2, 40000)
    windows, clip = windows_of(waveform, classifier)
    assert clip.tolist() == [0, 0, 1, 1]
    assert torch.equal(windows, torch.stack([row[start : start + 32000] for row in waveform for start in (0, 8000)]))
    short, _ = windows_of(waveform[:1, :12000], classifier)
    assert np.array_equal(short[0].numpy(), np.resize(waveform[0, :12000].numpy(), 32000))

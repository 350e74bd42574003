"""The service's benchmarks run through to their last line, at a size that takes seconds, and notice what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import hostile, load
from benchmarks.known_answers import SHAPES, KnownAnswer, known_answers
from tests.serve.made_bundle import made_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


def test_hostile_uploads(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile.main(["--bundle", str(bundle), "--uploads", "40"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(figures["statuses"].values()) == figures["uploads"] + figures["warm_up"] == 40 + 13
    assert sum(sum(outcomes.values()) for outcomes in figures["kinds"].values()) == 53 and len(figures["kinds"]) == 13
    assert figures["faults"] == figures["wrong_answers"] == 0 and figures["still_answers"] and figures["files_left"] == []
    assert figures["answers_known_before"] == 3 + len(SHAPES)
    assert figures["memory_mb"]["after"] > 10 and figures["descriptors"]["after"] <= figures["descriptors"]["before"]


def test_both_ask_for_frames_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = made_bundle(tmp_path / "bundle", frames=True)
    hostile.main(["--bundle", str(bundle), "--uploads", "26", "--frames"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["faults"] == figures["wrong_answers"] == 0 and figures["still_answers"] and figures["frames"]
    assert figures["answers_known_before"] == 2 + 2 * len(SHAPES)
    load.main(["--bundle", str(bundle), "--seconds", "2", "--capacity-seconds", "1", "--frames"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["faults"] == figures["wrong_answers"] == 0 and figures["still_answers"] and figures["recordings"] == 2 * len(SHAPES)


@pytest.mark.parametrize("benchmark", [hostile, load])
def test_frames_of_a_model_without_them_are_refused(benchmark: object, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--bundle", str(bundle), "--frames"])  # type: ignore[attr-defined]
    assert "tells whole recordings only" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark.main(["--bundle", str(bundle), "--frames", "--backend", "onnx"])  # type: ignore[attr-defined]
    assert "--backend onnx cannot be asked for frames" in capsys.readouterr().err


def test_hostile_uploads_of_real_recordings(bundle: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile.main(["--bundle", str(bundle), "--uploads", "26", "--recordings", str(shared_data)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["real_recordings"] > 10 and figures["faults"] == figures["wrong_answers"] == 0


def test_twice_the_capacity_on_a_bad_day(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load.main(["--bundle", str(bundle), "--seconds", "3", "--capacity-seconds", "2"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["capacity_per_s"] > 0 and figures["faults"] == figures["wrong_answers"] == 0 and figures["still_answers"]
    assert set(figures["outcomes"]) <= {"200", "503 queue_full"} and sum(figures["outcomes"].values()) == figures["requests"]
    assert figures["requests"] == pytest.approx(3 * 2 * figures["capacity_per_s"], abs=1)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["killed_decoders"] == 2 and len(figures["answers_by_version"]) == 2 and figures["files_left"] == []


def test_a_wrong_answer_would_be_noticed(bundle: Path) -> None:
    known = known_answers(bundle)[0]
    right = {"labels": [{"probability": float(value)} for value in known.probabilities]}
    assert known.difference(right) == 0
    assert KnownAnswer(known.content, known.probabilities + np.array([0, 2e-5, 0])).difference(right) == pytest.approx(2e-5)
    assert known.difference({"labels": []}) == float("inf")
    rows = KnownAnswer(known.content, np.array([[0.1, 0.2]]), "/v1/frames")
    assert rows.difference({"labels": [{"probabilities": [0.1, 0.3]}]}) == pytest.approx(0.1)
    assert rows.difference({"labels": [{"probabilities": [0.1]}]}) == float("inf")


@pytest.mark.parametrize("benchmark", [hostile, load])
def test_a_folder_that_is_no_bundle_is_named(benchmark: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        benchmark.main(["--bundle", str(tmp_path)])  # type: ignore[attr-defined]
    assert end.value.code == 1 and "model.pt does not exist" in capsys.readouterr().err

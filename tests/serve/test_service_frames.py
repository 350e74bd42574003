"""/v1/frames: the rows of ``finetune events``, for every recording that /v1/predict takes, and refusals where there are none."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.events.judge import JudgeOfFrames
from finetune.events.recording import find_events
from finetune.events.rule import event_rule
from finetune.events.track import Track
from finetune.events.windows import windows_for
from finetune.predict.model_file import ModelFile
from finetune.tasks.multilabel import MultiLabel
from serve.engine import load_model
from serve.errors import StartError
from tests.serve.made_bundle import FRAMES, RATE, made_bundle, made_clip, made_onnx_bundle, write_description
from tests.serve.serving import GOOD, Serving, serving, wav
from tests.serve.test_refusals import AUDIO, reason

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def service(frames_bundle: Path) -> Iterator[Serving]:
    """A service whose model tells frames; a small batch, so that recordings are asked for in several groups of windows."""
    with serving(frames_bundle, max_batch=3, max_seconds=60) as running:
        yield running


@pytest.fixture(scope="module")
def judge(frames_bundle: Path) -> JudgeOfFrames:
    """The model as ``finetune events`` asks it."""
    description = json.loads((frames_bundle / "model.json").read_text(encoding="utf-8"))
    return JudgeOfFrames(ModelFile(torch.jit.load(str(frames_bundle / "model.pt")), description, MultiLabel()))


def waxing(seconds: float, rate: int, seed: int = 3, channels: int = 1) -> np.ndarray:
    """Noise whose level wanders, so that events come and go; float32 [T, channels]."""
    clip = made_clip(seconds, rate, seed, channels)
    return clip * (0.05 + np.abs(np.sin(2.7 * np.arange(len(clip)) / rate)))[:, np.newaxis].astype(np.float32)


def track_of(judge: JudgeOfFrames, path: Path) -> Track:
    found = find_events("one", path, judge, event_rule(judge), windows_for(judge), keep_track=True)
    assert found.track is not None
    return found.track


def rows_of(answer: dict[str, Any]) -> np.ndarray:
    return np.array([label["probabilities"] for label in answer["labels"]]).T


@pytest.mark.parametrize("rate", [RATE, 11025, 16000])
@pytest.mark.parametrize(("seconds", "channels"), [(0.11, 1), (0.43, 2), (1.0, 1), (1.3, 1), (2.0, 1), (7.777, 2)])
def test_rows_are_those_of_events(service: Serving, judge: JudgeOfFrames, tmp_path: Path, seconds: float, channels: int, rate: int) -> None:
    content = wav(waxing(seconds, rate, channels=channels), rate)
    (tmp_path / "one.wav").write_bytes(content)
    response = service.frames(content)
    assert response.status_code == 200, response.text
    (answer,) = response.json()["results"]
    expected = track_of(judge, tmp_path / "one.wav")
    assert [label["label"] for label in answer["labels"]] == FRAMES["labels"]
    assert [label["threshold"] for label in answer["labels"]] == FRAMES["thresholds"]
    assert rows_of(answer).shape == expected.probabilities.shape
    for found, wanted in (
        (answer["begin_s"], expected.start_s),
        (answer["end_s"], expected.end_s),
        (rows_of(answer), expected.probabilities),
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
    # Without gaps, from the recording's start to its end.
    assert answer["begin_s"][0] == 0 and answer["begin_s"][1:] == answer["end_s"][:-1] and answer["end_s"][-1] == answer["duration_s"]
    assert (answer["status"], answer["sample_rate"], answer["channels"], answer["error"]) == ("ok", rate, channels, None)
    assert answer["row_flags"] == [[]] * len(expected)


def test_rows_come_and_go(service: Serving) -> None:
    """Else the rows above could be equal since all are."""
    (answer,) = service.frames(wav(waxing(7.777, RATE), RATE)).json()["results"]
    assert (np.ptp(rows_of(answer), axis=0) > 0.4).all()


def test_many_recordings_and_a_bad_one_are_answered_in_their_order(service: Serving) -> None:
    files = [wav(waxing(seconds, rate, seed), rate) for seed, (seconds, rate) in enumerate([(3.1, 4000), (0.7, 8000), (3.1, 4000)])]
    alone = [service.frames(file).json()["results"][0] for file in files]
    together = service.frames(files[0], files[1], b"RIFFnothing", files[2]).json()
    assert [result["index"] for result in together["results"]] == [0, 1, 2, 3] and "not a diagnosis" in together["note"]
    bad = together["results"].pop(2)
    assert (bad["status"], bad["error"]["reason"], bad["begin_s"], bad["labels"]) == ("failed", "not_audio", [], [])
    for one, among in zip(alone, together["results"], strict=True):
        assert among["begin_s"] == one["begin_s"]
        np.testing.assert_allclose(rows_of(among), rows_of(one), atol=1e-6)
    assert alone[0]["labels"] != alone[2]["labels"]


def test_base64_in_json_is_answered_as_a_file_is(service: Serving) -> None:
    (by_file,) = service.frames(GOOD).json()["results"]
    (by_text,) = service.client.post("/v1/frames", json={"recordings": [{"audio": AUDIO}]}).json()["results"]
    assert by_text == by_file


def test_rows_of_silence_are_flagged(service: Serving) -> None:
    (silent,) = service.frames(wav(np.zeros(2 * RATE), RATE)).json()["results"]
    assert (silent["status"], silent["flags"], silent["warnings"]) == ("flagged", ["silent"], [])
    assert silent["row_flags"] == [["silent"]] * len(silent["begin_s"])
    half = np.concatenate([np.zeros((4 * RATE, 1), np.float32), waxing(4.0, RATE)])
    (answer,) = service.frames(wav(half, RATE)).json()["results"]
    assert answer["status"] == "flagged" and answer["flags"] == ["silent"]
    # The window from 3.5 s on is the first one that hears anything, and speaks from 3.75 s on.
    assert [["silent"] if begin < 3.75 else [] for begin in answer["begin_s"]] == answer["row_flags"]


def test_what_is_not_finite_is_flagged_where_it_is(service: Serving) -> None:
    clip = waxing(4.0, RATE)
    clip[100] = np.nan
    (answer,) = service.frames(wav(clip, RATE, "FLOAT")).json()["results"]
    assert answer["flags"] == ["not_finite"] and answer["row_flags"][0] == ["not_finite"] and answer["row_flags"][-1] == []
    assert np.isfinite(rows_of(answer)).all()


def test_steady_noise_is_warned_of(service: Serving) -> None:
    (answer,) = service.frames(wav(made_clip(5.0, RATE, 3), RATE)).json()["results"]
    assert (answer["status"], answer["warnings"]) == ("ok", ["noise_only"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no audio", "not_audio"),
        (wav(np.zeros(0), RATE), "no_samples"),
        (wav(np.zeros(399), RATE), "too_short"),
        (wav(np.zeros(61 * 1000), 1000), "too_long"),
        (wav(np.zeros((RATE, 9)), RATE), "too_many_channels"),
        (wav(np.zeros(44101), 44101), "unsupported_rate"),
    ],
)
def test_a_bad_recording_is_refused_as_for_predictions(service: Serving, content: bytes, expected: str) -> None:
    refused = service.frames(content)
    assert reason(refused) == reason(service.predict(content)) == expected


def test_metadata_are_refused_as_for_predictions(service: Serving) -> None:
    assert reason(service.frames(GOOD, data={"metadata": '[{"age": 3}]'})) == "bad_metadata"


def test_the_longest_recording_is_answered_in_groups_of_windows(frames_bundle: Path) -> None:
    with serving(frames_bundle) as service:
        (answer,) = service.frames(wav(waxing(600.0, 1000), 1000)).json()["results"]
        assert answer["end_s"][-1] == answer["duration_s"] == 600.0 and len(answer["begin_s"]) > 600 / FRAMES["frame_s"] - 1
        # 1199 windows, of which one call of the model takes 16 at most, as by --max_batch.
        assert service.metric("auscult_batch_size_sum") == 1199
        assert service.metric('auscult_batch_size_bucket{le="16.0"}') == service.metric("auscult_batch_size_count") >= 75


def test_without_frames_there_is_one_clear_sentence(bundle: Path, frames_bundle: Path, tmp_path: Path) -> None:
    onnx = made_onnx_bundle(tmp_path / "onnx", frames=True)
    cases = [(bundle, "torch", "whole recordings only"), (onnx, "onnx", "backend onnx")]
    for folder, backend, words in cases:
        with serving(folder, backend=backend) as service:
            refused = service.frames(GOOD, b"RIFFnothing")
            assert reason(refused) == "no_frames" and refused.status_code == 422 and words in refused.json()["error"]["message"]
            assert service.client.get("/v1/model").json()["frames"] is False
            assert service.metric('auscult_errors_total{reason="no_frames"}') == 1
            assert service.predict(GOOD).status_code == 200


def test_a_client_sees_whether_it_is_offered(service: Serving) -> None:
    assert service.client.get("/v1/model").json()["frames"] is True


def test_the_token_is_asked_for(frames_bundle: Path) -> None:
    with serving(frames_bundle, token="secret") as service:
        assert reason(service.frames(GOOD)) == "unauthorized"
        assert service.frames(GOOD, headers={"authorization": "Bearer secret"}).status_code == 200


def test_another_bundle_answers_from_its_swap_on(frames_bundle: Path, bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "current"
    token = {"authorization": "Bearer secret"}
    other = made_bundle(tmp_path / "other", seed=9, frames=True)
    place.symlink_to(frames_bundle)
    with serving(place, token="secret") as service:
        first = service.frames(GOOD, headers=token).json()
        answers = []
        for folder in (other, bundle):
            place.unlink()
            place.symlink_to(folder)
            assert service.client.post("/v1/model", headers=token).json()["outcome"] == "swapped"
            answers.append(service.frames(GOOD, headers=token))
        second, none = answers
        assert second.json()["model"] != first["model"] and second.json()["results"][0]["labels"] != first["results"][0]["labels"]
        assert reason(none) == "no_frames"


def test_rows_are_of_one_model_also_where_another_takes_over_meanwhile(frames_bundle: Path, tmp_path: Path) -> None:
    """Under load: each answer is wholly that of the version that it names."""
    place, token = tmp_path / "current", {"authorization": "Bearer secret"}
    bundles = [frames_bundle, made_bundle(tmp_path / "other", seed=9, frames=True)]
    content = wav(waxing(60.0, RATE), RATE)
    place.symlink_to(bundles[1])
    seen: dict[str, list[np.ndarray]] = {}
    # A group of two windows at a time, so that windows for both models wait at once.
    with serving(place, token="secret", max_batch=2, max_batch_seconds=2) as service, ThreadPoolExecutor(12) as clients:
        waiting = []
        for turn in range(6):
            waiting += [clients.submit(service.frames, content, headers=token) for _ in range(2)]
            place.unlink()
            place.symlink_to(bundles[turn % 2])
            assert service.client.post("/v1/model", headers=token).json()["outcome"] == "swapped"
        for response in waiting:
            body = response.result().json()
            seen.setdefault(body["model"], []).append(rows_of(body["results"][0]))
    assert len(seen) == 2, "one of the models was never asked"
    first, second = seen.values()
    for rows in seen.values():
        assert all(np.abs(other - rows[0]).max() < 1e-6 for other in rows)
    # In every window, else a mixture could pass.
    assert (np.abs(first[0] - second[0]).max(axis=1) > 1e-4).mean() > 0.9


def test_frames_count_as_recordings_and_not_as_scores(frames_bundle: Path) -> None:
    with serving(frames_bundle) as service:
        service.frames(GOOD, wav(np.zeros(RATE), RATE), b"no")
        expected = {
            'auscult_requests_total{route="/v1/frames",status="200"}': 1,
            'auscult_errors_total{reason="not_audio"}': 1,
            'auscult_recordings_total{status="ok"}': 1,
            'auscult_recordings_total{status="flagged"}': 1,
            'auscult_recordings_total{status="failed"}': 1,
            'auscult_flags_total{flag="silent"}': 1,
            "auscult_clip_seconds_count": 2,
            "auscult_decode_seconds_count": 2,
            'auscult_score_count{label="wheeze"}': 0,
            "auscult_decoded_bytes": 0,
            "auscult_requests_in_flight": 0,
        }
        assert {row: service.metric(row) for row in expected} == expected


def test_openapi_has_the_address_with_examples(service: Serving) -> None:
    api = service.client.get("/openapi.json").json()
    assert api["paths"]["/v1/frames"]["post"]["requestBody"] == api["paths"]["/v1/predict"]["post"]["requestBody"]
    fields = api["components"]["schemas"]["RecordingFrames"]["properties"]
    assert all("description" in field for field in fields.values())
    examples = [fields[name]["examples"][0] for name in ("begin_s", "end_s", "row_flags")]
    event = api["components"]["schemas"]["EventAnswer"]["properties"]["probabilities"]["examples"][0]
    assert {len(example) for example in [*examples, event]} == {3}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({**FRAMES, "labels": ["wheeze"]}, "other frames"),
        ({**FRAMES, "thresholds": [0.5]}, "other frames"),
        ({**FRAMES, "frame_s": 0.3}, "other frames"),
        ({"labels": ["wheeze", "crackle"]}, "does not tell frames"),
    ],
)
def test_a_bundle_that_tells_other_frames_than_it_says_is_not_served(tmp_path: Path, frames: dict[str, Any], said: str) -> None:
    folder = made_bundle(tmp_path / "bundle", frames=True)
    load_model(folder, "torch", threads=1)
    with pytest.raises(StartError, match=said):
        load_model(described_by(folder, frames=frames), "torch", threads=1)


def test_a_bundle_that_says_frames_and_has_none_is_not_served(tmp_path: Path) -> None:
    folder = described_by(made_bundle(tmp_path / "bundle"), frames=FRAMES, clip_s=1.0)
    with pytest.raises(StartError, match="does not tell frames"):
        load_model(folder, "torch", threads=1)


def described_by(folder: Path, **changes: Any) -> Path:
    """Other keys in model.json than its model's."""
    write_description(folder, {**json.loads((folder / "model.json").read_text(encoding="utf-8")), **changes})
    return folder

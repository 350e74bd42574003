"""/v1/predict: the answers, for every way to send recordings."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.known_answers import SHAPES
from finetune.predict.model_file import ModelFile
from finetune.tasks.multilabel import MultiLabel
from serve.decision import label_answers, the_one
from tests.serve.made_bundle import LABELS, made_bundle, made_clip
from tests.serve.serving import Serving, serving, wav

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def offline(bundle: Path) -> ModelFile:
    """The model as ``finetune predict`` asks it."""
    description = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    return ModelFile(torch.jit.load(str(bundle / "model.pt")), description, MultiLabel())


@pytest.mark.parametrize(("seconds", "rate", "channels", "kind", "subtype"), SHAPES)
def test_the_answer_is_the_offline_one(
    service: Serving, offline: ModelFile, seconds: float, rate: int, channels: int, kind: str, subtype: str
) -> None:
    content = wav(made_clip(seconds, rate, 5, channels), rate, subtype, kind)
    response = service.predict(content)
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    waveform, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    probabilities, flags = offline.predict(waveform.mean(axis=1), rate)
    assert [label["label"] for label in result["labels"]] == LABELS
    assert np.allclose([label["probability"] for label in result["labels"]], probabilities, atol=TOLERANCE)
    assert [label["decided"] for label in result["labels"]] == offline.decide(probabilities).astype(bool).tolist()
    assert (result["status"], result["flags"]) == ("ok", []) and flags == 0
    assert (result["duration_s"], result["sample_rate"], result["channels"]) == (pytest.approx(len(waveform) / rate), rate, channels)


def test_many_files_are_answered_in_their_order(service: Serving) -> None:
    files = [wav(made_clip(0.2 + 0.3 * seed, (4000, 8000)[seed % 2], seed), (4000, 8000)[seed % 2]) for seed in range(6)]
    alone = [service.predict(file).json()["results"][0] for file in files]
    together = service.predict(*files).json()
    assert [result["index"] for result in together["results"]] == list(range(6))
    assert len({result["labels"][1]["probability"] for result in alone}) == 6
    for one, among in zip(alone, together["results"], strict=True):
        assert among["duration_s"] == one["duration_s"]
        assert np.allclose([a["probability"] for a in among["labels"]], [a["probability"] for a in one["labels"]], atol=TOLERANCE)
    assert "not a diagnosis" in together["note"]


def test_base64_in_json_is_answered_as_a_file_is(service: Serving) -> None:
    content = wav(made_clip(1.0, 4000, 3), 4000)
    body = {"recordings": [{"audio": base64.b64encode(content).decode()}]}
    assert service.client.post("/v1/predict", json=body).json()["results"] == service.predict(content).json()["results"]


def test_quality_flags_are_named(service: Serving) -> None:
    nan = made_clip(1.0, 4000, 3)
    nan[10] = np.nan
    silent, constant, broken = service.predict(wav(np.zeros(4000), 4000), wav(np.full(4000, 0.25), 4000), wav(nan, 4000, "FLOAT")).json()[
        "results"
    ]
    assert [silent["flags"], constant["flags"], broken["flags"]] == [["silent"], ["constant"], ["not_finite"]]
    assert {result["status"] for result in (silent, constant, broken)} == {"flagged"}
    assert all(0 <= label["probability"] <= 1 for label in broken["labels"])


def test_a_bad_file_among_good_ones_has_its_own_error(service: Serving) -> None:
    good = wav(made_clip(1.0, 4000, 3), 4000)
    response = service.predict(good, b"RIFFnothing", good)
    assert response.status_code == 200
    first, bad, last = response.json()["results"]
    assert first["labels"] == last["labels"] and first["error"] is None
    assert bad["status"] == "failed" and bad["labels"] == [] and bad["error"]["reason"] == "not_audio"


def test_decisions_follow_the_label_rule_and_the_band() -> None:
    description = {
        "labels": LABELS,
        "thresholds": [0.5, 0.4, 0.6],
        "decoding": "thresholds",
        "task": {"init_args": {"exclusive": "normal"}},
        "abstain": {"wheeze": [0.3, 0.5], "normal": None},
    }
    heard = label_answers(np.array([0.9, 0.4, 0.1]), description)
    assert [answer.decided for answer in heard] == [False, True, False]
    assert [answer.undecided for answer in heard] == [False, True, False]
    assert [answer.decided for answer in label_answers(np.array([0.1, 0.39, 0.1]), description)] == [True, False, False]
    assert [answer.undecided for answer in label_answers(np.array([0.1, 0.5, 0.1]), description)] == [False, False, False]


def test_a_limit_leaves_all_classes_open_and_names_none() -> None:
    description = {
        "labels": LABELS,
        "thresholds": [1 / 3] * 3,
        "decoding": "largest_quotient",
        "task": {"init_args": {}},
        "abstain": dict.fromkeys(LABELS),
        "abstain_limit": 0.6,
    }
    for probabilities, decided in (([0.1, 0.3, 0.6], "crackle"), ([0.59, 0.2, 0.21], None)):
        heard = label_answers(np.array(probabilities), description)
        assert the_one(heard, description) == decided
        assert {answer.undecided for answer in heard} == {decided is None}
        # What the rule alone gives is there all the same.
        assert [answer.decided for answer in heard].index(True) == int(np.argmax(probabilities))
    without = {**description, "abstain_limit": None}
    assert the_one(label_answers(np.array([0.34, 0.33, 0.33]), without), without) == "normal"


def test_classes_that_exclude_each_other_have_one_answer(tmp_path: Path) -> None:
    task = {"class_path": "finetune.tasks.MultiClass", "init_args": {}}
    thresholds = [0.9, 0.9, 0.001]
    with serving(made_bundle(tmp_path / "bundle", decoding="largest_quotient", task=task, thresholds=thresholds)) as service:
        (result,) = service.predict(wav(made_clip(1.0, 4000, 3), 4000)).json()["results"]
    assert result["decided"] == "crackle" and [label["decided"] for label in result["labels"]] == [False, False, True]

"""The page and a model that tells events frame by frame: its timeline is one request to /v1/frames, and the words are true of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from serve.page.answer_table import track_rows
from serve.page.app import FLEXIBLE
from serve.page.client import Service, ServiceError
from serve.page.judgement import judge
from serve.page.model_facts import facts_of
from serve.page.report import report
from serve.page.track import MOST_ROWS
from serve.schemas import ModelAnswer
from tests.serve.made_bundle import FRAMES, RATE, made_bundle
from tests.serve.serving import Serving, serving, wav
from tests.serve.test_page import TOKEN, opened, shown, tables, upload
from tests.serve.test_service_frames import waxing

CONTENT = wav(waxing(3.2, 8000), 8000)
ANSWERED = 'auscult_requests_total{{route="/v1/{}",status="200"}}'


@pytest.fixture(scope="module")
def taught(frames_bundle: Path) -> Iterator[Serving]:
    with serving(frames_bundle, token=TOKEN) as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


@pytest.fixture(scope="module")
def plain_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(made_bundle(tmp_path_factory.mktemp("page") / "plain", clip_s=1.0), token=TOKEN) as running:
        yield running


@pytest.fixture
def page(taught: Serving, plain_service: Serving, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opened(f"events={taught.url},plain={plain_service.url}", monkeypatch)


def test_the_timeline_is_one_request_for_frames(page: AppTest, taught: Serving) -> None:
    (answer,) = taught.frames(CONTENT).json()["results"]
    before = {name: taught.metric(ANSWERED.format(name)) for name in ("frames", "predict")}
    upload(page, CONTENT)
    assert not page.exception and not page.error
    assert {name: taught.metric(ANSWERED.format(name)) - before[name] for name in before} == {"frames": 1, "predict": 1}
    labels, rows = tables(page)
    assert len(labels) == 3 and list(rows[0]) == ["From (s)", "To (s)", *FRAMES["labels"], "Present", "Faults"]
    assert [row["From (s)"] for row in rows] == [f"{begin:.2f}" for begin in answer["begin_s"]] and rows[-1]["To (s)"] == "3.20"
    present = []
    for event in answer["labels"]:
        assert [row[event["label"]] for row in rows] == [f"{value:.3f}" for value in event["probabilities"]]
        present.append([value >= event["threshold"] for value in event["probabilities"]])
        assert any(present[-1]) and not all(present[-1]), "a test of equals"
    for row, *held in zip(rows, *present, strict=True):
        named = [label for label, there in zip(FRAMES["labels"], held, strict=True) if there]
        assert row["Present"] == (", ".join(named) or "none") and row["Faults"] == "none"


def test_words_are_of_frames_and_not_of_windows(page: AppTest) -> None:
    upload(page, CONTENT)
    alts = [image.proto.imgs[0].alt for image in page.image]
    assert "The table of frames has the same numbers." in alts[1] and "normal" not in alts[1] and "up to 2000 Hz" in alts[1]
    said = shown(page)
    assert "A track of frames: 45 of about 0.075 s, told in windows of 1 s that overlap by half" in said
    assert "frames in which the label is present, which is a probability of at least the threshold" in said
    # The band of the whole recording's answer is hatched; frames have none.
    assert said.count("Hatched") == 1 and "recording of its own" not in said
    assert [table.proto.alt for table in page.table][1] == "Probabilities of each frame"
    html = report([judgement for _, judgement in page.session_state["judged"].values()])
    assert "A track of frames: 45 of" in html and "<caption>Probabilities of each frame</caption>" in html
    assert "recording of its own" not in html and "each window" not in html


def test_stretches_in_words_are_those_of_the_service(page: AppTest, taught: Serving) -> None:
    (answer,) = taught.frames(CONTENT).json()["results"]
    upload(page, CONTENT)
    alt = page.image[1].proto.imgs[0].alt
    for event in answer["labels"]:
        there = np.array(event["probabilities"]) >= event["threshold"]
        begins = np.flatnonzero(there & ~np.append(False, there[:-1]))
        ends = np.flatnonzero(there & ~np.append(there[1:], False))
        spans = [f"{answer['begin_s'][b]:.1f} to {answer['end_s'][e]:.1f} s" for b, e in zip(begins, ends, strict=True)]
        assert spans and f"{event['label']} {', '.join(spans)}" in alt


def test_faults_of_a_stretch_stand_in_its_rows(page: AppTest) -> None:
    upload(page, wav(np.concatenate([np.zeros((3 * RATE, 1), np.float32), waxing(3.0, RATE)]), RATE))
    _, rows = tables(page)
    assert rows[0]["Faults"] == "silent" and rows[-1]["Faults"] == "none"


def test_the_overlap_is_chosen_for_windows_only(page: AppTest) -> None:
    page.radio(key="mode").set_value(FLEXIBLE).run()
    assert not page.select_slider, "the model that is chosen tells frames"
    page.multiselect(key="models").set_value(["events", "plain"]).run()
    assert page.select_slider(key="overlap").help == "Of plain; the others tell frames."
    page.select_slider(key="overlap").set_value(0.0).run()
    upload(page, CONTENT)
    by_frames, by_windows = (tables(page)[place] for place in (2, 4))
    assert len(by_frames) == 45 and [row["From (s)"] for row in by_windows] == ["0.00", "1.00", "2.00", "2.20"]
    assert "A track of frames: 45" in shown(page) and "A track of windows: 4 of 1 s, one every 1 s" in shown(page)
    page.multiselect(key="models").set_value(["plain"]).run()
    assert not page.select_slider(key="overlap").help


def test_a_recording_of_the_longest_kind_is_drawn(taught: Serving) -> None:
    service = Service("events", taught.url, TOKEN)
    judged = judge(service, facts_of(service.describe()), "x.wav", wav(waxing(600.0, 1000), 1000), 0.5)
    assert judged.track.edges_s[-1] == 600.0 and len(judged.track.edges_s) == len(judged.track.probabilities) + 1 > 8000
    rows = track_rows(judged.track)
    assert judged.track.table_step > 1 and len(rows) <= MOST_ROWS and (rows[0]["From (s)"], rows[-1]["To (s)"]) == ("0.00", "600.00")
    assert rows[1]["From (s)"] == rows[0]["To (s)"]
    # What is present somewhere in a row stands in it, and its highest probability.
    step = judged.track.table_step
    assert rows[3]["wheeze"] == f"{judged.track.probabilities[3 * step : 4 * step, 0].max():.3f}" and "wheeze" in rows[3]["Present"]
    said = f"has the highest of every {step}"
    assert said in judged.overview.alt and f"Highest probabilities of every {step} neighbouring frames" in report([judged])
    assert "and more" in judged.overview.alt and len(judged.overview.alt) < 2000


DESCRIBED = {
    "labels": ["wheeze"],
    "task": {"class_path": "finetune.tasks.MultiLabel"},
    "sample_rate": RATE,
    "clip_s": 1.0,
    "frames": FRAMES,
}
LIMITS = {"max_files": 4, "max_bytes": 2**20, "max_seconds": 60, "max_channels": 2, "max_rate_hz": 48000}


def refused(reason: str) -> httpx.Response:
    body = {"error": {"code": 422, "reason": reason, "message": "No."}, "request_id": "1"}
    return httpx.Response(422, json=body)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused("no_frames"), "The model of stub was replaced meanwhile"),
        (httpx.Response(200, json={"model": "b", "request_id": "1", "results": [{"index": 0, "status": "ok"}]}), "was replaced meanwhile"),
        (refused("not_answered"), r"stub refused the request \(not_answered\): No\."),
    ],
)
def test_frames_that_are_not_answered_are_said_in_a_sentence(answer: httpx.Response, words: str) -> None:
    label = {"label": "wheeze", "probability": 0.2, "threshold": 0.5, "decided": False, "undecided": False}
    whole = {"model": "a", "request_id": "1", "results": [{"index": 0, "status": "ok", "labels": [label]}]}
    waiting = [httpx.Response(200, json=whole), answer]
    described = ModelAnswer(version="a", backend="torch", description=DESCRIBED, card="", limits=LIMITS, frames=True)
    service = Service("stub", "http://stub", transport=httpx.MockTransport(lambda request: waiting.pop(0)))
    with pytest.raises(ServiceError, match=words):
        judge(service, facts_of(described), "x.wav", CONTENT, 0.5)


def test_a_service_of_an_earlier_release_is_asked_by_windows() -> None:
    """Its answer does not say whether it tells frames, though its bundle has them."""
    body = {"version": "a", "backend": "torch", "description": DESCRIBED, "card": "", "limits": LIMITS}
    assert facts_of(ModelAnswer.model_validate_json(json.dumps(body))).frame_s is None
    assert facts_of(ModelAnswer.model_validate_json(json.dumps({**body, "frames": True}))).frame_s == FRAMES["frame_s"]

"""The page and a model that takes age and sex beside the audio."""

import json
from typing import Any

import httpx
import pytest
from streamlit.testing.v1 import AppTest

import serve.page.app
from serve.page.app import FLEXIBLE, MANY
from serve.page.client import Service
from tests.serve.made_bundle import LABELS, RATE, made_clip
from tests.serve.serving import wav

TAKEN = {"columns": ["age", "sex"], "numbers": ["age"], "vocabularies": {"sex": ["F", "M"]}}
LIMITS = {"max_files": 4, "max_bytes": 2**20, "max_seconds": 60, "max_channels": 2, "max_rate_hz": 48000}


def test_metadata_are_asked_for_and_sent_with_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            description = {
                "labels": LABELS,
                "task": {"class_path": "finetune.tasks.MultiLabel"},
                "sample_rate": RATE,
                "clip_s": 1.0,
                "metadata": TAKEN,
            }
            return httpx.Response(200, json={"version": "a", "backend": "torch", "description": description, "card": "", "limits": LIMITS})
        body = request.read()
        files = body.count(b'name="file"')
        found = body.partition(b'name="metadata"\r\n\r\n')[2].partition(b"\r\n")[0]
        sent.append((files, json.loads(found) if found else None))
        label = {"probability": 0.25, "threshold": 0.5, "decided": False, "undecided": False}
        results = [
            {"index": index, "status": "ok", "duration_s": 1.0, "labels": [{"label": name, **label} for name in LABELS]}
            for index in range(files)
        ]
        return httpx.Response(200, json={"model": "a", "request_id": "b", "results": results})

    monkeypatch.setattr(serve.page.app, "services_of", lambda: [Service("lungs", "http://stub", transport=httpx.MockTransport(answer))])
    page = AppTest.from_function(_page, default_timeout=60).run()
    page.radio(key="mode").set_value(FLEXIBLE).run()
    page.number_input(key="metadata lungs age").set_value(61.0).run()
    page.selectbox(key="metadata lungs sex").set_value("F").run()
    page.file_uploader(key="file").set_value(("clip.wav", wav(made_clip(2.0, RATE, 1), RATE), "audio/wav")).run()
    assert not page.exception and not page.error
    given = {"age": 61.0, "sex": "F"}
    assert sent == [(1, [given]), (3, [given] * 3)]
    page.selectbox(key="metadata lungs sex").set_value("M").run()
    assert sent[2:] == [(1, [{**given, "sex": "M"}]), (3, [{**given, "sex": "M"}] * 3)]
    page.radio(key="what").set_value(MANY).run()
    assert "without metadata" in page.info[0].value


def _page() -> None:
    from serve.page.app import main

    main()

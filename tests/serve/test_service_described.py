"""What the service says of itself: the model, its metrics, and its addresses with examples."""

import json
from pathlib import Path

import numpy as np

from tests.serve.serving import GOOD, Serving, serving, wav


def test_the_model_is_described(service: Serving, bundle: Path) -> None:
    answer = service.client.get("/v1/model").json()
    assert answer["description"] == json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    assert answer["card"].startswith("# Model card") and answer["limits"]["max_files"] == 32


def test_metrics_count_what_happened(bundle: Path) -> None:
    with serving(bundle) as service:
        service.predict(GOOD, GOOD, wav(np.zeros(4000), 4000), b"no")
        service.predict(b"no")
        expected = {
            'auscult_requests_total{route="/v1/predict",status="200"}': 1,
            'auscult_requests_total{route="/v1/predict",status="422"}': 1,
            'auscult_request_seconds_count{route="/v1/predict"}': 2,
            'auscult_errors_total{reason="not_audio"}': 2,
            'auscult_recordings_total{status="ok"}': 2,
            'auscult_recordings_total{status="flagged"}': 1,
            'auscult_recordings_total{status="failed"}': 2,
            'auscult_flags_total{flag="silent"}': 1,
            "auscult_clip_seconds_count": 3,
            "auscult_clip_seconds_sum": 2.0,
            'auscult_score_count{label="wheeze"}': 3,
            "auscult_decode_seconds_count": 3,
            "auscult_decoded_bytes": 0,
        }
        assert {row: service.metric(row) for row in expected} == expected
        assert service.metric("auscult_inference_seconds_count") >= 1
        assert service.metric("process_resident_memory_bytes") > 0


def test_openapi_has_examples_and_its_example_is_understood(service: Serving) -> None:
    api = service.client.get("/openapi.json").json()
    content = api["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert content.keys() == {"multipart/form-data", "application/json"}
    assert content["application/json"]["example"]["recordings"][0].keys() == {"audio"}
    assert {"PredictAnswer", "ErrorAnswer", "ModelAnswer"} <= api["components"]["schemas"].keys()
    for path, operations in api["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
    text = json.dumps(api)
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= api["components"]["schemas"].keys()

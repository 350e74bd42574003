"""Hundreds of hostile files to a service in a process of its own: no fault, no leak, nothing left behind, and right answers after it.

`python -m benchmarks.hostile` is the long form. Hostile bodies around the files are those of test_refusals.py.
"""

from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.hostile import judged
from benchmarks.known_answers import TOLERANCE, known_answers
from benchmarks.service_process import service_process
from benchmarks.uploads import KINDS, NAMES, HostileFile, hostile_file
from tests.serve.serving import WAIT_S

UPLOADS = 300


def send(client: httpx.Client, file: HostileFile) -> str:
    """The outcome of an upload that must not be a fault."""
    response = client.post("/v1/predict", files=[("file", (file.name, file.content))])
    outcome, fault = judged(response)
    assert fault is None, fault
    assert response.status_code in (200, 400, 422), response.text
    # The service does not say what a client called its file.
    assert not file.name or len(file.name) < 5 or file.name not in response.text
    return outcome


def test_hostile_files_are_refused_and_leave_nothing_behind(bundle: Path) -> None:
    known = known_answers(bundle)
    outcomes = set()
    with service_process(bundle) as service, httpx.Client(base_url=service.url, timeout=WAIT_S) as client:
        decoders = set(service.processes())
        for kind in KINDS:
            for seed in range(3):
                send(client, hostile_file(kind, seed))
        memory_mb, descriptors = service.memory_mb(), service.descriptors()

        @settings(max_examples=UPLOADS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**32 - 1))
        def upload(kind: str, seed: int) -> None:
            outcomes.add(send(client, hostile_file(kind, seed)))

        upload()
        assert service.memory_mb() - memory_mb < 50
        assert service.descriptors() <= descriptors
        assert service.left_files() == []
        assert set(service.processes()) == decoders, "a file broke a decoder"
        for expected in known:
            response = client.post("/v1/predict", files=[("file", ("x.wav", expected.content))])
            assert expected.difference(response.json()["results"][0]) <= TOLERANCE
        log = (service.folder / "log").read_text(encoding="utf-8")
    assert not any(name in log for name in NAMES if len(name) > 4), "a client's file name is in the log"
    assert "request_failed" not in log and "model_failed" not in log
    # Otherwise one check at the door would have hidden all others.
    assert {"not_audio", "too_long", "too_short", "too_many_channels", "unsupported_rate", "ok", "flagged"} <= outcomes


@pytest.mark.parametrize(
    ("status", "reason", "headers", "fault"),
    [(500, "internal", {}, True), (502, "x", {}, True), (503, "queue_full", {}, True), (503, "queue_full", {"retry-after": "1"}, False)],
)
def test_a_fault_would_be_noticed(status: int, reason: str, headers: dict[str, str], fault: bool) -> None:
    response = httpx.Response(status, headers=headers, json={"error": {"reason": reason}})
    assert judged(response) == (reason, f"status {status} for the reason {reason!r}" if fault else None)


@pytest.mark.parametrize("probability", [None, 1.5, -0.1])
def test_an_answer_that_is_no_probability_would_be_noticed(probability: float | None) -> None:
    labels = [] if probability is None else [{"probability": probability}]
    response = httpx.Response(200, json={"results": [{"status": "ok", "labels": labels}]})
    assert judged(response)[1]

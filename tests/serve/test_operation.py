"""A bad day: decoders that crash and hang, more requests than fit, a slow model, a stop, and another bundle under load."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serve.batching import Batcher
from serve.budget import Budget
from serve.engine import Model
from tests.serve.made_bundle import made_bundle, made_clip
from tests.serve.serving import Serving, serving, until, wav
from tests.serve.test_refusals import reason

GOOD = wav(made_clip(0.5, 4000, 3), 4000)


class Gate:
    """An engine that answers when it is let."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.open = threading.Event()
        self.asked = threading.Event()

    def answer(self, *given: Any) -> Any:
        self.asked.set()
        assert self.open.wait(60)
        return self._engine.answer(*given)


@contextmanager
def held_up(service: Serving) -> Iterator[Gate]:
    """The model does not answer within the block, until its gate is opened."""
    current = service.predictor.current
    model = current.model
    gate = Gate(model.engine)
    current.model = Model(model.bundle, model.backend, gate)
    try:
        yield gate
    finally:
        gate.open.set()
        current.model = model


def test_a_full_queue_says_so_and_empties_again(bundle: Path) -> None:
    with serving(bundle, max_in_flight=3) as service, ThreadPoolExecutor(3) as clients:
        with held_up(service) as gate:
            waiting = [clients.submit(service.predict, GOOD)]
            assert gate.asked.wait(60)
            waiting += [clients.submit(service.predict, GOOD) for _ in range(2)]
            until(lambda: service.metric("auscult_queue_depth") == 2)
            assert service.metric("auscult_requests_in_flight") == 3
            refused = service.predict(GOOD)
            assert reason(refused) == "queue_full" and int(refused.headers["retry-after"]) >= 1
            gate.open.set()
            assert [future.result().status_code for future in waiting] == [200] * 3
        assert service.predict(GOOD).status_code == 200
        assert service.metric('auscult_errors_total{reason="queue_full"}') == 1
        assert service.metric("auscult_requests_in_flight") == service.metric("auscult_queue_depth") == 0


def test_a_request_has_its_time(bundle: Path) -> None:
    with serving(bundle, timeout_s=0.5) as service:
        with held_up(service):
            assert reason(service.predict(GOOD)) == "timed_out"
        until(lambda: service.predict(GOOD).status_code == 200)


def test_a_client_that_sends_slowly_has_no_more_time(bundle: Path) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"--b\r\n"
        time.sleep(1.5)
        yield b"--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    with serving(bundle, timeout_s=0.5) as service:
        assert reason(service.client.post("/v1/predict", content=slowly(), headers=headers)) == "timed_out"


def test_killed_decoders_are_replaced_and_cost_no_answer(bundle: Path) -> None:
    with serving(bundle, decoders=2) as service:
        expected = service.predict(GOOD).json()["results"]
        first = set(service.predictor.decoders.pids)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert service.predict(GOOD).json()["results"] == expected
        until(lambda: len(set(service.predictor.decoders.pids) - first) == 2)
        assert service.metric("auscult_decoder_restarts_total") == 2
        assert service.client.get("/readyz").status_code == 200


def test_a_decoder_that_dies_on_a_recording_is_tried_once_more(bundle: Path) -> None:
    """Stopped processes hold the recording in hand, so that the kill meets them at work."""
    with serving(bundle, decoders=1, decode_timeout_s=30) as service, ThreadPoolExecutor(1) as client:

        def die_at_work() -> None:
            until(lambda: service.predictor.decoders.pids)
            (pid,) = service.predictor.decoders.pids
            os.kill(pid, signal.SIGKILL)
            until(lambda: service.predictor.decoders.pids not in ([pid], []))

        expected = service.predict(GOOD).json()["results"]
        os.kill(service.predictor.decoders.pids[0], signal.SIGSTOP)
        answer = client.submit(service.predict, GOOD)
        until(lambda: service.metric("auscult_requests_in_flight") == 1)
        time.sleep(0.2)
        die_at_work()
        assert answer.result().json()["results"] == expected


def test_a_recording_on_which_two_decoders_die_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.decoders import DecoderDied, _Decoder

    async def die(*_: Any) -> None:
        raise DecoderDied(at_work=True)

    with serving(bundle, decoders=1) as service:
        with monkeypatch.context() as patch:
            patch.setattr(_Decoder, "ask", die)
            assert reason(service.predict(GOOD)) == "worker_restarting"
        assert service.predict(GOOD).status_code == 200
        assert service.metric("auscult_decoder_restarts_total") == 2


def test_a_decoder_that_hangs_is_ended(bundle: Path) -> None:
    with serving(bundle, decoders=1, decode_timeout_s=2) as service:
        assert service.predict(GOOD).status_code == 200
        os.kill(service.predictor.decoders.pids[0], signal.SIGSTOP)
        assert reason(service.predict(GOOD)) == "timed_out"
        assert service.predict(GOOD).status_code == 200


def test_without_a_decoder_the_service_is_not_ready(bundle: Path) -> None:
    with serving(bundle, decoders=1) as service:
        assert service.client.get("/readyz").status_code == 200
        service.predictor.decoders._running.clear()
        assert reason(service.client.get("/readyz")) == "not_ready"
        assert service.client.get("/healthz").json() == {"status": "ok"}


def test_decoded_audio_waits_for_room(bundle: Path) -> None:
    """Room for one recording at a time: many are answered all the same, one after the other."""
    files = [wav(made_clip(1.0, 4000, seed), 4000) for seed in range(6)]
    with serving(bundle, max_decoded_bytes=20_000) as narrow, serving(bundle) as wide:
        slow, fast = narrow.predict(*files).json()["results"], wide.predict(*files).json()["results"]
        assert [result["status"] for result in slow] == ["ok"] * 6
        for one, other in zip(slow, fast, strict=True):
            assert np.allclose([a["probability"] for a in one["labels"]], [a["probability"] for a in other["labels"]], atol=1e-6)
        assert narrow.metric("auscult_decoded_bytes") == 0


def test_a_budget_is_first_come_first_served_and_gets_everything_back() -> None:
    async def scenario() -> list[str]:
        budget, order = Budget(10), list[str]()

        async def hold(name: str, amount: int, seconds: float = 0.0) -> None:
            async with budget.hold(amount):
                order.append(name)
                await asyncio.sleep(seconds)

        first = asyncio.create_task(hold("first", 6, 0.05))
        await asyncio.sleep(0)
        large = asyncio.create_task(hold("larger than all", 99))
        small = asyncio.create_task(hold("small", 1))
        given_up = asyncio.create_task(hold("given up", 1))
        await asyncio.sleep(0)
        assert budget.held == 6
        given_up.cancel()
        await asyncio.gather(first, large, small, given_up, return_exceptions=True)
        assert budget.held == 0
        return order

    assert asyncio.run(scenario()) == ["first", "larger than all", "small"]


def probability(response: httpx.Response) -> tuple[str, float]:
    body = response.json()
    return body["model"], round(body["results"][0]["labels"][1]["probability"], 6)


def test_another_bundle_takes_over_under_load(bundle: Path, other_bundle: Path, tmp_path: Path) -> None:
    """Every answer is that of the version that it names, before, during and after the swap."""
    place = tmp_path / "current"
    place.symlink_to(bundle)
    expected = {}
    for path in (bundle, other_bundle):
        with serving(path) as service:
            version, answer = probability(service.predict(GOOD))
            expected[version] = answer
    token = {"authorization": "Bearer secret"}
    with serving(place, token="secret", max_in_flight=64) as service, ThreadPoolExecutor(4) as clients:
        stop = threading.Event()

        def keep_asking() -> list[tuple[str, float]]:
            seen = []
            while not stop.is_set():
                response = service.predict(GOOD, headers=token)
                assert response.status_code == 200, response.text
                seen.append(probability(response))
            return seen

        running = [clients.submit(keep_asking) for _ in range(4)]
        assert service.client.post("/v1/model", headers=token).json()["outcome"] == "unchanged"
        place.unlink()
        place.symlink_to(other_bundle)
        swapped = service.client.post("/v1/model", headers=token)
        assert swapped.status_code == 200, swapped.text
        version = swapped.json()["version"]
        assert swapped.json()["outcome"] == "swapped" and {version, swapped.json()["previous"]} == set(expected)
        assert probability(service.predict(GOOD, headers=token)) == (version, expected[version])
        stop.set()
        seen = {answer for future in running for answer in future.result()}
        assert seen == set(expected.items()), "an answer was neither model's, or one was never asked"
        assert service.client.get("/v1/model", headers=token).json()["version"] == version
        assert service.metric(f'auscult_model_info{{backend="torch",version="{version}"}}') == 1
        assert service.metric(f'auscult_model_info{{backend="torch",version="{swapped.json()["previous"]}"}}') == 0


def test_a_bundle_that_does_not_verify_is_not_taken(tmp_path: Path) -> None:
    path = made_bundle(tmp_path / "bundle")
    token = {"authorization": "Bearer secret"}
    with serving(path, token="secret") as service:
        before = probability(service.predict(GOOD, headers=token))
        with (path / "model.pt").open("ab") as file:
            file.write(b"x")
        refused = service.client.post("/v1/model", headers=token)
        assert reason(refused) == "bundle_refused" and "SHA-256" in refused.json()["error"]["message"]
        assert probability(service.predict(GOOD, headers=token)) == before
        assert service.metric('auscult_model_swaps_total{outcome="refused"}') == 1


def test_the_token_is_asked_for(bundle: Path) -> None:
    with serving(bundle, token="secret") as service:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}, {"authorization": "Bearer"}):
            refused = service.predict(GOOD, headers=headers)
            assert reason(refused) == "unauthorized" and refused.headers["www-authenticate"] == "Bearer"
            assert reason(service.client.get("/v1/model", headers=headers)) == "unauthorized"
            assert reason(service.client.post("/v1/model", headers=headers)) == "unauthorized"
        assert service.predict(GOOD, headers={"authorization": "bearer secret"}).status_code == 200
        assert [service.client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_without_a_token_nobody_swaps_the_model(service: Serving) -> None:
    assert reason(service.client.post("/v1/model")) == "unauthorized"


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


def test_answers_do_not_wait_for_a_batch(bundle: Path) -> None:
    """An idle model is asked at once: a single recording never waits for company."""
    asked: list[int] = []

    class Noted:
        def answer(self, waveform: np.ndarray, *_: Any) -> tuple[np.ndarray, np.ndarray]:
            asked.append(len(waveform))
            return np.zeros((len(waveform), 3), np.float32), np.zeros(len(waveform), np.int64)

    async def one_by_one() -> None:
        from serve.metrics import Metrics

        batcher = Batcher(16, 120.0, Metrics())
        await batcher.start()
        for _ in range(3):
            await batcher.answer(Model(None, "torch", Noted()), np.zeros(10, np.float32), 4000)  # type: ignore[arg-type]
        await batcher.stop()

    asyncio.run(one_by_one())
    assert asked == [1, 1, 1]


def test_a_refused_client_reads_why_however_much_it_was_about_to_send(bundle: Path) -> None:
    with serving(bundle, max_bytes=1_000_000, max_in_flight=1, token="secret") as service, ThreadPoolExecutor(1) as client:
        token = {"authorization": "Bearer secret"}
        large = bytes(30_000_000)
        assert reason(service.predict(large, headers=token)) == "too_many_bytes"
        assert reason(service.predict(bytes(900_000))) == "unauthorized"
        with held_up(service) as gate:
            waiting = client.submit(service.predict, GOOD, headers=token)
            assert gate.asked.wait(60)
            assert reason(service.predict(bytes(900_000), headers=token)) == "queue_full"
            gate.open.set()
            assert waiting.result().status_code == 200

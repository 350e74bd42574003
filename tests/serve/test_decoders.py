"""Decoders that crash, hang or are all gone: replaced, at the cost of one recording at most."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serve.serving import GOOD, serving, until
from tests.serve.test_refusals import reason


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

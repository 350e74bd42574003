"""More than fits: a full queue, slow clients and models, decoded audio that waits for room, and who is answered first."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serve.batching import Batcher
from serve.budget import Budget
from serve.engine import Model
from tests.serve.made_bundle import made_clip
from tests.serve.serving import GOOD, Serving, serving, until, wav
from tests.serve.test_refusals import reason


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

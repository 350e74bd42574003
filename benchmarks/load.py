"""Twice as many requests as a service can answer: what is answered, what is refused, how long it takes, and whether every answer is right.

The capacity is measured first, by as many clients as the service takes at once, each of which waits for its answer. Then requests are sent
at twice that rate whether or not they are answered. Meanwhile decoders are killed, the disk is full for a while, and another bundle takes
over.
"""

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.bad_day import bad_day, swapped, two_versions
from benchmarks.known_answers import TOLERANCE, KnownAnswer, known_answers
from benchmarks.service_process import ServiceProcess, service_process
from common import cli
from common.errors import UserError
from common.progress import say
from common.provenance import machine
from serve.settings import Settings

TIMEOUT_S = 120.0
CLIENTS = int(Settings.model_fields["max_in_flight"].default)
OVERLOAD = 2.0


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder that 'python -m finetune export' wrote")
    parser.add_argument("--seconds", type=float, default=300.0, help="time at twice the capacity, s")
    parser.add_argument("--capacity-seconds", type=float, default=20.0, help="time in which the capacity is measured, s")
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch", help="of the service")
    parser.add_argument("--frames", action="store_true", help="send every other request to /v1/frames")
    options = parser.parse_args(args)
    return cli.conclude(lambda: load(options.bundle, options.seconds, options.capacity_seconds, options.backend, options.frames))


class Client:
    """Sends requests that were written before, each on a connection of its own: a whole HTTP client would be the slower side.

    Args:
        url: of the service.
    """

    def __init__(self, url: str) -> None:
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        self._written: dict[tuple[bytes, str], bytes] = {}

    async def post(self, known: KnownAnswer) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a recording.

        Raises:
            OSError: the connection broke.
        """
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._request(known.content, known.path))
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head:
            raise ConnectionResetError
        return int(head.split()[1]), json.loads(body)

    def _request(self, content: bytes, path: str) -> bytes:
        if (content, path) not in self._written:
            headers = {"Connection": "close"}
            request = httpx.Request("POST", f"http://{self._host}:{self._port}{path}", files=[("file", content)], headers=headers)
            lines = [f"POST {path} HTTP/1.1".encode(), *(b"%s: %s" % row for row in request.headers.raw)]
            self._written[content, path] = b"\r\n".join(lines) + b"\r\n\r\n" + request.read()
        return self._written[content, path]


@dataclass
class Seen:
    """Answers of one phase.

    Attributes:
        latencies_s: of the answered requests.
        refusals_s: latencies of those with status 503.
        outcomes: "200", or status and reason.
        versions: of the bundles that answered.
    """

    latencies_s: list[float] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    largest_difference: float = 0.0

    async def ask(self, client: Client, known: KnownAnswer) -> None:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, body = await client.post(known)
        except OSError as error:
            # A TimeoutError is one too.
            self.outcomes[type(error).__name__] += 1
            return
        seconds = time.perf_counter() - begun
        if status != 200:
            self.outcomes[f"{status} {body['error']['reason']}"] += 1
            self.refusals_s.append(seconds)
            return
        self.outcomes["200"] += 1
        self.versions[body["model"]] += 1
        self.latencies_s.append(seconds)
        difference = known.difference(body["results"][0])
        self.largest_difference = max(self.largest_difference, difference)
        self.wrong += not difference <= TOLERANCE

    def ms(self, quantile: float, of: Sequence[float]) -> float | None:
        return round(1000 * float(np.quantile(of, quantile)), 1) if of else None


def load(bundle: Path, seconds: float, capacity_seconds: float, backend: str, frames: bool) -> dict[str, Any]:
    """Measure the capacity, then send twice as much for ``seconds``."""
    if seconds <= 0 or capacity_seconds <= 0:
        raise UserError(f"--seconds is {seconds:g} and --capacity-seconds {capacity_seconds:g}: expected more than 0 of each.")
    known = known_answers(bundle, backend, frames)
    with (
        tempfile.TemporaryDirectory(prefix="auscult-load-") as folder,
        two_versions(Path(folder), bundle) as link,
        service_process(link, "--backend", backend) as service,
    ):
        figures = asyncio.run(_measured(service, link, known, seconds, capacity_seconds))
    return {**figures, "backend": backend, "frames": frames, "machine": machine()}


async def _measured(
    service: ServiceProcess, link: Path, known: list[KnownAnswer], seconds: float, capacity_seconds: float
) -> dict[str, Any]:
    client = Client(service.url)
    single = Seen()
    for answer in known:
        await single.ask(client, answer)
    calm, elapsed = await _closed_loop(client, known, capacity_seconds)
    capacity = calm.outcomes["200"] / elapsed
    before = service.memory_mb(), service.descriptors()
    say(f"capacity {capacity:.1f} requests per second; sending {OVERLOAD * capacity:.1f} for {seconds:g} s")
    (busy, sent_s, elapsed), happened = await asyncio.gather(
        _open_loop(client, known, seconds, OVERLOAD * capacity), bad_day(service, link, seconds)
    )
    at_its_end = service.memory_mb()
    await swapped(service)
    after = Seen()
    for answer in known:
        await after.ask(client, answer)
    await asyncio.sleep(1.0)
    sent = sum(busy.outcomes.values())
    unavailable = sum(count for outcome, count in busy.outcomes.items() if outcome.startswith("503"))
    return {
        "seconds": seconds,
        "capacity_per_s": round(capacity, 1),
        "offered_per_s": round(sent / sent_s, 1),
        "answered_per_s": round(busy.outcomes["200"] / elapsed, 1),
        "requests": sent,
        "outcomes": dict(busy.outcomes.most_common()),
        "share_503": round(unavailable / sent, 4),
        "faults": sent - busy.outcomes["200"] - unavailable,
        **happened,
        "answers_by_version": dict(busy.versions + after.versions),
        "p50_ms": busy.ms(0.5, busy.latencies_s),
        "p99_ms": busy.ms(0.99, busy.latencies_s),
        "refused_p50_ms": busy.ms(0.5, busy.refusals_s),
        "refused_p99_ms": busy.ms(0.99, busy.refusals_s),
        "capacity_p50_ms": calm.ms(0.5, calm.latencies_s),
        "capacity_p99_ms": calm.ms(0.99, calm.latencies_s),
        "wrong_answers": sum(seen.wrong for seen in (single, calm, busy, after)),
        "largest_difference": max(seen.largest_difference for seen in (single, calm, busy, after)),
        "still_answers": after.outcomes == {"200": len(known)},
        "memory_mb": {"before": before[0], "at_its_end": at_its_end, "after": service.memory_mb()},
        "descriptors": {"before": before[1], "after": service.descriptors()},
        "files_left": service.left_files(),
        "recordings": len(known),
        "clients_for_capacity": CLIENTS,
    }


async def _closed_loop(client: Client, known: list[KnownAnswer], seconds: float) -> tuple[Seen, float]:
    """As many clients as the service takes at once, each waiting for its answer before it asks again."""
    seen, turn = Seen(), itertools.cycle(known)
    begun = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() - begun < seconds:
            await seen.ask(client, next(turn))

    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    return seen, time.perf_counter() - begun


async def _open_loop(client: Client, known: list[KnownAnswer], seconds: float, rate: float) -> tuple[Seen, float, float]:
    """``rate`` requests per second, whatever becomes of them; how long they took to be sent and to be answered."""
    seen, turn = Seen(), itertools.cycle(known)
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(max(1, round(seconds * rate))):
            # A client that has fallen behind sends at once, and offered_per_s tells.
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            group.create_task(seen.ask(client, next(turn)))
        sent_s = time.perf_counter() - begun
    return seen, sent_s, time.perf_counter() - begun


if __name__ == "__main__":
    main()

"""Thousands of hostile uploads to a service in a process of its own, and what they leave behind.

Between them recordings with known answers are sent, so that a service that goes wrong rather than down is noticed.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.known_answers import FRAMES, PREDICT, TOLERANCE, KnownAnswer, known_answers
from benchmarks.service_process import ServiceProcess, service_process
from benchmarks.uploads import KINDS, hostile_file
from common import cli
from common.errors import UserError
from common.progress import track
from common.provenance import machine

TIMEOUT_S = 120.0
# The first uploads fill caches and the allocator's pools; growth is counted after them.
WARM_UP = 0.1
KNOWN_EVERY = 20
SUFFIXES = {".wav", ".flac", ".ogg"}


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder that 'python -m finetune export' wrote")
    parser.add_argument("--uploads", type=int, default=10_000, help="number of hostile uploads")
    parser.add_argument("--recordings", type=Path, help="folder with real recordings to mutate; made ones by default")
    parser.add_argument("--clients", type=int, default=4, help="uploads at once")
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch", help="of the service")
    parser.add_argument("--frames", action="store_true", help="send every other upload to /v1/frames")
    parser.add_argument("--seed", type=int, default=0, help="of the uploads")
    options = parser.parse_args(args)
    return cli.conclude(
        lambda: attack(options.bundle, options.uploads, options.recordings, options.clients, options.backend, options.frames, options.seed)
    )


@dataclass
class Tally:
    """What was answered."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: list[str] = field(default_factory=list)
    known: int = 0
    wrong: int = 0
    largest_difference: float = 0.0

    def count(self, kind: str, response: httpx.Response) -> None:
        """Count the answer to a hostile upload; an answer that the service must never give is a fault."""
        self.statuses[str(response.status_code)] += 1
        outcome, fault = judged(response)
        self.kinds[kind][outcome] += 1
        if response.status_code != 200:
            self.reasons[outcome] += 1
        if fault:
            self.faults.append(f"{kind}: {fault}")

    def check(self, known: KnownAnswer, response: httpx.Response) -> None:
        """Count the answer to a recording whose answer is known."""
        self.known += 1
        difference = known.difference(response.json()["results"][0]) if response.status_code == 200 else float("inf")
        self.largest_difference = max(self.largest_difference, difference)
        self.wrong += not difference <= TOLERANCE


def judged(response: httpx.Response) -> tuple[str, str | None]:
    """The status of a recording or the reason of a refusal, and what is wrong with the answer; None where nothing is."""
    body = response.json()
    if response.status_code == 200:
        (result,) = body["results"]
        # One of a label, or one of each frame.
        answered = [label["probabilities"] if "probabilities" in label else [label["probability"]] for label in result["labels"]]
        probabilities = [probability for of_label in answered for probability in of_label]
        # NaN is in no range.
        fine = probabilities and all(0 <= probability <= 1 for probability in probabilities)
        return result["status"], None if fine else f"status 200 with the probabilities {probabilities}"
    reason = body["error"]["reason"]
    if response.status_code >= 500 and (response.status_code != 503 or "retry-after" not in response.headers):
        return reason, f"status {response.status_code} for the reason {reason!r}"
    return reason, None


def attack(bundle: Path, uploads: int, recordings: Path | None, clients: int, backend: str, frames: bool, seed: int) -> dict[str, Any]:
    """Send ``uploads`` hostile files, and measure the service before and after."""
    if uploads < 1 or clients < 1:
        raise UserError(f"--uploads is {uploads} and --clients {clients}: expected at least 1 of each.")
    real = _read(recordings) if recordings else []
    known, tally, kinds = known_answers(bundle, backend, frames), Tally(), list(KINDS)

    def send(client: httpx.Client, number: int) -> None:
        if number % KNOWN_EVERY == 0:
            expected = known[number // KNOWN_EVERY % len(known)]
            tally.check(expected, _post(client, "known.wav", expected.content, expected.path))
        # There are 13 kinds, so that each goes both ways.
        kind, path = kinds[number % len(kinds)], FRAMES if frames and number % 2 else PREDICT
        file = hostile_file(kind, seed + number, real)
        tally.count(kind, _post(client, file.name, file.content, path))

    def send_all(service: ServiceProcess, numbers: range, what: str) -> None:
        with httpx.Client(base_url=service.url, timeout=TIMEOUT_S) as client, ThreadPoolExecutor(clients) as pool:
            for _ in track(pool.map(lambda number: send(client, number), numbers), what, total=len(numbers)):
                pass

    with service_process(bundle, "--backend", backend) as service:
        warm_up = max(len(kinds), round(uploads * WARM_UP))
        send_all(service, range(warm_up), "warming up")
        before = _state(service)
        begun = time.perf_counter()
        send_all(service, range(warm_up, warm_up + uploads), "hostile uploads")
        seconds = time.perf_counter() - begun
        after = _state(service)
        with httpx.Client(base_url=service.url, timeout=TIMEOUT_S) as client:
            responses = [(expected, _post(client, "known.wav", expected.content, expected.path)) for expected in known]
            still = all(response.status_code == 200 for _, response in responses)
            for expected, response in responses:
                tally.check(expected, response)
        restarts = sum(line["event"] == "decoder_ended" for line in service.log())
        left = service.left_files()
    return {
        "uploads": uploads,
        "warm_up": warm_up,
        "seconds": round(seconds, 1),
        "statuses": dict(sorted(tally.statuses.items())),
        "reasons": dict(tally.reasons.most_common()),
        "kinds": {kind: dict(outcomes.most_common()) for kind, outcomes in sorted(tally.kinds.items())},
        "faults": len(tally.faults),
        "first_faults": tally.faults[:10],
        "answers_known_before": tally.known,
        "wrong_answers": tally.wrong,
        "largest_difference": tally.largest_difference,
        "still_answers": still,
        "decoder_restarts": restarts,
        "memory_mb": {"before": before[0], "after": after[0]},
        "descriptors": {"before": before[1], "after": after[1]},
        "files_left": left,
        "real_recordings": len(real),
        "backend": backend,
        "frames": frames,
        "machine": machine(),
    }


def _post(client: httpx.Client, name: str, content: bytes, path: str) -> httpx.Response:
    return client.post(path, files=[("file", (name, content, "audio/wav"))])


def _state(service: ServiceProcess) -> tuple[float, int]:
    """Memory in MB and open descriptors, once connections that were closed are gone."""
    time.sleep(1.0)
    return service.memory_mb(), service.descriptors()


def _read(folder: Path) -> list[bytes]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{folder} holds no WAV, FLAC or OGG file: --recordings expects a folder with some.")
    # Enough to vary, and no more than fits into memory.
    return [path.read_bytes() for path in files[:: max(1, len(files) // 200)][:200]]


if __name__ == "__main__":
    main()

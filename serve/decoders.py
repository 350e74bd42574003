"""A pool of decoding processes that may crash or hang: each is replaced, and a recording in hand is tried once more."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from serve.budget import Budget
from serve.decode import Decoded, DecodeLimits
from serve.decoder_process import LENGTHS, message
from serve.errors import Refusal
from serve.logs import log
from serve.metrics import Metrics

ATTEMPTS = 2
# A process that ends sooner is started again later and later.
SHORT_LIFE_S = 1.0
LONGEST_PAUSE_S = 5.0


class DecoderDied(Exception):
    """The process ended while it was asked; ``at_work`` when it had begun to decode, and not before."""

    def __init__(self, at_work: bool = False) -> None:
        super().__init__()
        self.at_work = at_work


class Decoders:
    """``number`` processes that decode.

    Args:
        number: of processes.
        limits: what a recording may be at most.
        timeout_s: time limit of decoding one recording, s.
        budget: from which decoded audio takes its bytes.
        metrics: told of processes that ended.
    """

    def __init__(self, number: int, limits: DecodeLimits, timeout_s: float, budget: Budget, metrics: Metrics) -> None:
        self._metrics = metrics
        self._number = number
        self._limits = limits
        self._timeout_s = timeout_s
        self._budget = budget
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._running: set[_Decoder] = set()
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [decoder.pid for decoder in self._running]

    async def start(self) -> None:
        """Start the processes; returns before they are ready, since a request that comes sooner waits for them."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._number)]

    async def stop(self) -> None:
        """End the processes."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    @asynccontextmanager
    async def decoded(self, content: bytes) -> AsyncIterator[Decoded]:
        """A recording, whose bytes count in the budget until the block ends.

        Raises:
            Refusal: the recording is not taken, or two processes ended on it, or one was too slow.
        """
        async with AsyncExitStack() as held:
            yield await self._ask(content, held)

    async def _ask(self, content: bytes, held: AsyncExitStack) -> Decoded:
        ended = 0
        while ended < ATTEMPTS:
            try:
                return await self._ask_one(content, held)
            except DecoderDied as death:
                await held.aclose()
                ended += death.at_work
        raise Refusal("worker_restarting", "The decoding process ended twice on the recording: try again, or send another.")

    async def _ask_one(self, content: bytes, held: AsyncExitStack) -> Decoded:
        decoder = await self._idle.get()
        while not decoder.alive:
            decoder = await self._idle.get()
        try:
            answer = await decoder.ask(content, self._timeout_s, self._budget, held)
        except TimeoutError as error:
            decoder.kill()
            message = f"The recording was not decoded within {self._timeout_s:g} s."
            raise Refusal("timed_out", message) from error
        except BaseException:
            # Also when the request was given up: what the process answers now is nobody's.
            decoder.kill()
            raise
        self._idle.put_nowait(decoder)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _keep(self) -> None:
        """Keep one process running."""
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            try:
                decoder = await _Decoder.start(self._limits)
            except OSError as error:
                log("decoder_not_started", logging.ERROR, error=type(error).__name__)
                pause_s = LONGEST_PAUSE_S
                continue
            self._running.add(decoder)
            try:
                if await decoder.ready():
                    self._idle.put_nowait(decoder)
                await decoder.ended()
            finally:
                self._running.discard(decoder)
                await decoder.close()
            self._metrics.decoder_restarts.inc()
            log("decoder_ended", logging.WARNING, exit_code=decoder.exit_code)
            pause_s = min(max(2 * pause_s, 0.1), LONGEST_PAUSE_S) if time.monotonic() - began < SHORT_LIFE_S else 0.0


class _Decoder:
    """One process, asked one recording at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, limits: DecodeLimits) -> "_Decoder":
        root = str(Path(__file__).resolve().parents[1])
        # The token is not for a process that hostile files may take over.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUSCULT_")}
        # It needs no thread of a linear algebra library, each of which would take of its room.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "serve.decoder_process",
            json.dumps(asdict(limits)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=2**20,
            # Ctrl-C in a terminal is for the service, which then drains.
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    async def ready(self) -> bool:
        """Wait until it has imported what it needs; False where it ended before."""
        try:
            await self._header()
        except DecoderDied:
            return False
        return True

    async def ask(self, content: bytes, timeout_s: float, budget: Budget, held: AsyncExitStack) -> Decoded | Refusal:
        """Decode ``content``; the waveform is read when ``budget`` has room for it, which ``held`` then holds.

        Raises:
            DecoderDied: the process ended.
            TimeoutError: it took longer than ``timeout_s``, the wait for room not counted.
        """
        async with asyncio.timeout(timeout_s):
            await self._send(content)
            await self._header()
            try:
                header, body_bytes = await self._header()
            except DecoderDied as death:
                raise DecoderDied(at_work=True) from death
        if "reason" in header:
            return Refusal(header["reason"], header["message"])
        await held.enter_async_context(budget.hold(body_bytes))
        async with asyncio.timeout(timeout_s):
            waveform = np.frombuffer(await self._read(body_bytes), np.float32)
        return Decoded(waveform, header["sample_rate"], header["channels"], header["steady_noise"])

    def kill(self) -> None:
        if self.alive:
            self._process.kill()

    async def ended(self) -> None:
        await self._process.wait()

    async def close(self) -> None:
        """End it and leave nothing of it behind."""
        self.kill()
        await asyncio.shield(self._process.wait())
        self._stdin.close()

    async def _send(self, content: bytes) -> None:
        try:
            self._stdin.write(message({}, len(content)))
            self._stdin.write(content)
            await self._stdin.drain()
        except (BrokenPipeError, ConnectionError) as error:
            raise DecoderDied from error

    async def _header(self) -> tuple[dict[str, Any], int]:
        header_bytes, body_bytes = LENGTHS.unpack(await self._read(LENGTHS.size))
        return json.loads(await self._read(header_bytes)), body_bytes

    async def _read(self, number: int) -> bytes:
        try:
            return await self._stdout.readexactly(number)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise DecoderDied from error

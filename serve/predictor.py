"""A request about recordings, from its body to its answers: admitted, read, decoded, answered, within its time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.requests import Request

from serve.batching import Batcher
from serve.budget import Budget
from serve.current_model import CurrentModel
from serve.decode import Decoded, DecodeLimits
from serve.decoders import Decoders
from serve.engine import Model
from serve.errors import Refusal
from serve.metadata import metadata_row
from serve.metrics import Metrics
from serve.noise import NOISE_ONLY
from serve.question import Question
from serve.schemas import A, Problem
from serve.settings import Settings
from serve.uploads import Upload, read_uploads


def problem(refusal: Refusal) -> Problem:
    return Problem(code=refusal.status, reason=refusal.reason, message=refusal.message)


class Predictor:
    """Answers requests; its processes and threads run within `running`."""

    def __init__(self, settings: Settings, current: CurrentModel, metrics: Metrics) -> None:
        self.current = current
        self._settings = settings
        self._metrics = metrics
        self._budget = Budget(settings.max_decoded_bytes)
        limits = DecodeLimits(settings.max_seconds, settings.max_channels, settings.max_rate_hz)
        self.decoders = Decoders(settings.decoders, limits, settings.decode_timeout_s, self._budget, metrics)
        self._batcher = Batcher(settings.max_batch, settings.max_batch_seconds, metrics)
        self._in_flight = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._batcher.start()
        await self.decoders.start()
        try:
            yield
        finally:
            await self.decoders.stop()
            await self._batcher.stop()

    async def answers(self, request: Request, question: Question[A]) -> tuple[Model, list[A]]:
        """What ``question`` says of a request's recordings, in their order, and the model that gave all answers.

        Of several recordings, one that is refused has its own ``error``; a single one is refused as a request is.

        Raises:
            Refusal: the request as a whole is not answered.
        """
        with self._admitted():
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    uploads = await read_uploads(request, self._settings.max_bytes, self._settings.max_files)
                    model = self.current.model
                    question.check(model)
                    answers = await self._all(model, uploads, question)
            except TimeoutError as error:
                raise Refusal("timed_out", f"The request was not answered within {self._settings.timeout_s:g} s.") from error
        if len(answers) == 1 and isinstance(answers[0], Refusal):
            self._metrics.recordings.labels("failed").inc()
            raise answers[0]
        return model, [self._counted(model, question, index, answer) for index, answer in enumerate(answers)]

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        # Before the body is read: what is refused must not take memory.
        if self._in_flight >= self._settings.max_in_flight:
            raise Refusal("queue_full", f"{self._settings.max_in_flight} requests are being answered, the most at once: try again.")
        self._in_flight += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.dec()

    async def _all(self, model: Model, uploads: list[Upload], question: Question[A]) -> list[A | Refusal]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one_or_refusal(model, index, upload, question)) for index, upload in enumerate(uploads)]
        return [task.result() for task in tasks]

    async def _one_or_refusal(self, model: Model, index: int, upload: Upload, question: Question[A]) -> A | Refusal:
        try:
            return await self._one(model, index, upload, question)
        except Refusal as refusal:
            return refusal

    async def _one(self, model: Model, index: int, upload: Upload, question: Question[A]) -> A:
        metadata = metadata_row(upload.metadata, model.bundle.metadata)
        async with self._decoded(upload.content) as decoded:
            duration_s = check_limits(decoded, model.bundle.description.get("limits") or {})
            flags, said = await question.ask(self._batcher, model, decoded, metadata)
        return question.answer(
            index=index,
            status="flagged" if flags else "ok",
            flags=flags,
            # Silence is steady too, and has a flag of its own.
            warnings=[NOISE_ONLY] if decoded.steady_noise and not flags else [],
            duration_s=duration_s,
            sample_rate=decoded.sample_rate,
            channels=decoded.channels,
            **said,
        )

    @asynccontextmanager
    async def _decoded(self, content: bytes) -> AsyncIterator[Decoded]:
        began = time.perf_counter()
        async with self.decoders.decoded(content) as decoded:
            self._metrics.decode_seconds.observe(time.perf_counter() - began)
            self._metrics.decoded_bytes.set(self._budget.held)
            yield decoded
        self._metrics.decoded_bytes.set(self._budget.held)

    def _counted(self, model: Model, question: Question[A], index: int, answer: A | Refusal) -> A:
        if isinstance(answer, Refusal):
            self._metrics.errors.labels(answer.reason).inc()
            self._metrics.recordings.labels("failed").inc()
            return question.answer(index=index, status="failed", error=problem(answer))
        self._metrics.recordings.labels(answer.status).inc()
        if answer.duration_s is not None:
            self._metrics.clip_seconds.observe(answer.duration_s)
        for flag in (*answer.flags, *answer.warnings):
            self._metrics.flags.labels(flag).inc()
        question.observe(self._metrics, model, answer)
        return answer


def check_limits(decoded: Decoded, limits: dict[str, float]) -> float:
    """The recording's duration, s, if the bundle was checked for such recordings.

    Raises:
        Refusal: it is beyond the bundle's ``limits``.
    """
    duration_s = len(decoded.waveform) / decoded.sample_rate
    low, high = limits.get("min_rate_hz", 1), limits.get("max_rate_hz", float("inf"))
    if not low <= decoded.sample_rate <= high:
        raise Refusal("unsupported_rate", f"The recording has {decoded.sample_rate} Hz, the model takes {low:g} to {high:g}.")
    shortest, longest = limits.get("min_s", 0), limits.get("max_s", float("inf"))
    if duration_s < shortest:
        raise Refusal("too_short", f"The recording lasts {duration_s:.3f} s, the model takes at least {shortest:g} s.")
    if duration_s > longest:
        raise Refusal("too_long", f"The recording lasts {duration_s:.1f} s, the model takes at most {longest:g} s.")
    return duration_s

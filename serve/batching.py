"""Recordings of several requests answered in one call of the model, without changing any answer.

The model promises that a row's answer depends neither on other rows nor on what lies beyond its length; so recordings of one rate are
padded to the longest and joined. Windows that are asked for their frames are joined where they are equally long. Nothing is waited for:
while the model computes, the next recordings gather.
"""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from serve.engine import Model
from serve.errors import Refusal
from serve.logs import log_fault
from serve.metrics import Metrics


@dataclass(frozen=True)
class Answer:
    """Of one recording: probabilities float32 [L], or of one window [N, E], and the bits of its quality flags."""

    probabilities: np.ndarray
    flags: int


@dataclass(frozen=True, eq=False)
class _Waiting:
    model: Model
    waveform: np.ndarray
    sample_rate: int
    metadata: np.ndarray | None
    frames: bool
    answer: "asyncio.Future[Answer]" = field(repr=False)


class Batcher:
    """A queue before the model.

    Args:
        max_batch: most recordings in one call.
        max_batch_s: most audio in one call that joins recordings, padding included, s.
        metrics: told of the queue and of each call.
    """

    def __init__(self, max_batch: int, max_batch_s: float, metrics: Metrics) -> None:
        self._max_batch = max_batch
        self._max_batch_s = max_batch_s
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._running: asyncio.Task[None] | None = None

    def at_once(self, samples: int, sample_rate: int) -> int:
        """How many recordings of so many samples one call takes: at least 1."""
        return max(1, min(self._max_batch, int(self._max_batch_s * sample_rate // max(samples, 1))))

    async def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def answer(
        self, model: Model, waveform: np.ndarray, sample_rate: int, metadata: np.ndarray | None = None, frames: bool = False
    ) -> Answer:
        """The answer of ``model`` for one recording, or for one window of it.

        Args:
            model: that answers, also where another has taken its place meanwhile.
            waveform: float32 [T].
            sample_rate: Hz.
            metadata: float32 [M]; None for a model that takes none.
            frames: ask for the events of each frame, of a model that has a ``frame_engine``; the waveform is then one window.

        Raises:
            Refusal: the model has no answer for it.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(model, waveform, sample_rate, metadata, frames, future))
        self._metrics.queue_depth.set(len(self._queue))
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            self._metrics.queue_depth.set(len(self._queue))
            if not batch:
                self._arrived.clear()
                continue
            began = time.perf_counter()
            answers = await loop.run_in_executor(self._thread, _answer, batch)
            self._metrics.inference_seconds.observe(time.perf_counter() - began)
            self._metrics.batch_size.observe(len(batch))
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue
                if isinstance(answer, Refusal):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

    def _take(self) -> list[_Waiting]:
        """The recording that has waited longest, and those behind it that can be joined to it; all others stay in order."""
        batch: list[_Waiting] = []
        longest = 0
        rest: deque[_Waiting] = deque()
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.answer.done():
                # Its request was given up.
                continue
            if not batch:
                batch, longest = [waiting], len(waiting.waveform)
                continue
            first, widest = batch[0], max(longest, len(waiting.waveform))
            alike = waiting.model is first.model and waiting.sample_rate == first.sample_rate and waiting.frames == first.frames
            if first.frames:
                # The call for frames takes no lengths.
                alike = alike and len(waiting.waveform) == len(first.waveform)
            if alike and len(batch) < self.at_once(widest, first.sample_rate):
                batch.append(waiting)
                longest = widest
            else:
                rest.append(waiting)
        self._queue = rest
        return batch


def _answer(batch: list[_Waiting]) -> list[Answer | Refusal]:
    try:
        return _ask(batch)
    except Refusal as refusal:
        return [refusal] * len(batch)
    except Exception as error:
        if len(batch) > 1:
            # One recording must not cost the others their answers.
            return [answer for waiting in batch for answer in _answer([waiting])]
        if isinstance(error, MemoryError):
            return [Refusal("out_of_memory", "The model found no memory for the recording.")]
        log_fault("model_failed", error, samples=len(batch[0].waveform), sample_rate=batch[0].sample_rate)
        return [Refusal("not_answered", "The model could not answer for the recording.")]


def _ask(batch: list[_Waiting]) -> list[Answer | Refusal]:
    lengths = np.array([len(waiting.waveform) for waiting in batch], np.int64)
    padded = np.zeros((len(batch), int(lengths.max())), np.float32)
    for row, waiting in zip(padded, batch, strict=True):
        row[: len(waiting.waveform)] = waiting.waveform
    given = [waiting.metadata for waiting in batch if waiting.metadata is not None]
    model, sample_rate = batch[0].model, batch[0].sample_rate
    if batch[0].frames:
        assert model.frame_engine is not None
        probabilities, flags = model.frame_engine.frames(padded, sample_rate)
    else:
        probabilities, flags = model.engine.answer(padded, sample_rate, lengths, np.stack(given) if given else None)
    answers: list[Answer | Refusal] = []
    for row, bits in zip(probabilities, flags, strict=True):
        if np.isfinite(row).all():
            answers.append(Answer(row, int(bits)))
        else:
            answers.append(Refusal("not_answered", "The model has no finite answer for the recording."))
    return answers

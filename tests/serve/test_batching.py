"""Recordings that are joined in one call have the answers that they have alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.batching import Answer, Batcher
from serve.decode import Decoded
from serve.engine import Engine, FrameEngine, Model, load_model
from serve.errors import Refusal
from serve.frames_question import FramesQuestion
from serve.metrics import Metrics
from tests.serve.made_bundle import LABELS, made_clip

TOLERANCE = 1e-6


class Spy:
    """An engine that notes the shape of each call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: list[tuple[int, int, int]] = []

    def answer(
        self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        self.calls.append((*waveform.shape, sample_rate))
        return self._engine.answer(waveform, sample_rate, lengths, metadata)


class FrameSpy(Spy):
    """One that notes the calls for frames too, with 0 in place of their rate."""

    def frames(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self._engine, FrameEngine)
        self.calls.append((*windows.shape, 0))
        return self._engine.frames(windows, sample_rate)


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load_model(bundle, "torch", threads=1)


def spied(model: Model) -> tuple[Model, Spy]:
    spy = Spy(model.engine)
    return Model(model.bundle, model.backend, spy), spy


# A model, a waveform, its rate, and for frames None in place of metadata and True.
Clip = tuple[Model, np.ndarray, int] | tuple[Model, np.ndarray, int, None, bool]


def ask(clips: Sequence[Clip], max_batch: int = 16, max_batch_s: float = 120.0) -> list[Answer | BaseException]:
    """All at once, from a queue in which they wait together."""

    async def together() -> list[Answer | BaseException]:
        batcher = Batcher(max_batch, max_batch_s, Metrics())
        waiting = [asyncio.create_task(batcher.answer(*clip)) for clip in clips]
        await asyncio.sleep(0)
        await batcher.start()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        await batcher.stop()
        return answers

    return asyncio.run(together())


def clips_of(model: Model, number: int, rates: Sequence[int] = (4000, 8000)) -> list[tuple[Model, np.ndarray, int]]:
    rates = [rates[seed % len(rates)] for seed in range(number)]
    return [(model, made_clip(0.05 + 0.37 * seed, rate, seed)[:, 0], rate) for seed, rate in enumerate(rates)]


def test_joined_answers_equal_single_ones(model: Model) -> None:
    clips = clips_of(model, 12)
    clips[3][1][5] = np.nan
    alone = [ask([clip])[0] for clip in clips]
    watched, spy = spied(model)
    joined = ask([(watched, waveform, rate) for _, waveform, rate in clips])
    assert sorted(rows for rows, _, _ in spy.calls) == [6, 6], "two rates should take two calls"
    for one, among in zip(alone, joined, strict=True):
        assert isinstance(one, Answer) and isinstance(among, Answer)
        assert np.abs(one.probabilities - among.probabilities).max() <= TOLERANCE and one.flags == among.flags
    assert len({tuple(np.round(one.probabilities, 4)) for one in alone if isinstance(one, Answer)}) == len(clips), "a test of equals"


def test_calls_stay_within_their_limits(model: Model) -> None:
    watched, spy = spied(model)
    clips = clips_of(watched, 9, rates=(4000,))
    ask(clips, max_batch=4, max_batch_s=6.0)
    assert sum(rows for rows, _, _ in spy.calls) == 9
    assert all(rows <= 4 and rows * samples <= 6.0 * 4000 for rows, samples, _ in spy.calls)
    assert len(spy.calls) < 9
    # One that is longer than the limit is answered alone.
    long = (watched, made_clip(7.0, 4000, 1)[:, 0], 4000)
    assert isinstance(ask([long], max_batch_s=6.0)[0], Answer)


def test_two_models_never_share_a_call(model: Model, other_bundle: Path) -> None:
    first, first_spy = spied(model)
    second, second_spy = spied(load_model(other_bundle, "torch", threads=1))
    waveform = made_clip(1.0, 4000, 3)[:, 0]
    one, other, again = ask([(first, waveform, 4000), (second, waveform, 4000), (first, waveform, 4000)])
    assert [first_spy.calls[0][0], second_spy.calls[0][0]] == [2, 1]
    assert isinstance(one, Answer) and isinstance(other, Answer) and isinstance(again, Answer)
    assert np.array_equal(one.probabilities, again.probabilities) and not np.allclose(one.probabilities, other.probabilities, atol=1e-3)


def test_windows_for_frames_share_a_call_where_they_are_equally_long(frames_bundle: Path) -> None:
    loaded = load_model(frames_bundle, "torch", threads=1)
    spy = FrameSpy(loaded.engine)
    watched = Model(loaded.bundle, loaded.backend, spy)
    windows = [made_clip(seconds, 4000, seed)[:, 0] for seed, seconds in enumerate((1.0, 0.6, 1.0, 1.0, 0.3))]
    asked: list[Clip] = [(watched, window, 4000, None, True) for window in windows]
    alone = [ask([clip])[0] for clip in asked]
    spy.calls.clear()
    together = ask([asked[0], (watched, windows[0], 4000), *asked[1:]])
    assert spy.calls == [(3, 4000, 0), (1, 4000, 4000), (1, 2400, 0), (1, 1200, 0)]
    labels = together.pop(1)
    assert isinstance(labels, Answer) and labels.probabilities.shape == (len(LABELS),)
    for one, among in zip(alone, together, strict=True):
        assert isinstance(one, Answer) and isinstance(among, Answer) and one.probabilities.shape == (14, 2)
        assert np.abs(one.probabilities - among.probabilities).max() <= TOLERANCE and one.flags == among.flags


def test_a_long_recording_s_frames_let_others_through(frames_bundle: Path) -> None:
    loaded = load_model(frames_bundle, "torch", threads=1)
    spy = FrameSpy(loaded.engine)
    watched = Model(loaded.bundle, loaded.backend, spy)
    long = Decoded(made_clip(10.0, 4000, 3)[:, 0], 4000, 1, False)

    async def together() -> dict[str, Any]:
        batcher = Batcher(4, 120.0, Metrics())
        frames = asyncio.create_task(FramesQuestion().ask(batcher, watched, long, None))
        await asyncio.sleep(0)
        labels = asyncio.create_task(batcher.answer(watched, long.waveform[:4000], 4000))
        await asyncio.sleep(0)
        await batcher.start()
        await labels
        _, said = await frames
        await batcher.stop()
        return said

    said = asyncio.run(together())
    # Nineteen windows in groups of four, and behind the first of them who came next.
    group, other = (4, 4000, 0), (1, 4000, 4000)
    assert spy.calls == [group, other, group, group, group, (3, 4000, 0)] and said["end_s"][-1] == 10.0


def test_a_group_of_windows_is_one_call(frames_bundle: Path) -> None:
    loaded = load_model(frames_bundle, "torch", threads=1)
    spy = FrameSpy(loaded.engine)

    async def asked() -> None:
        # Sixteen windows by number, but only three by seconds.
        batcher = Batcher(16, 3.5, Metrics())
        await batcher.start()
        clip = Decoded(made_clip(10.0, 4000, 3)[:, 0], 4000, 1, False)
        await FramesQuestion().ask(batcher, Model(loaded.bundle, loaded.backend, spy), clip, None)
        await batcher.stop()

    asyncio.run(asked())
    # Sixteen of the nineteen at once would leave one of them alone in a call, and then three.
    assert [rows for rows, _, _ in spy.calls] == [3, 3, 3, 3, 3, 3, 1]


def test_a_window_that_is_refused_leaves_no_other_in_the_queue(frames_bundle: Path) -> None:
    loaded = load_model(frames_bundle, "torch", threads=1)

    class Broken(FrameSpy):
        def frames(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
            probabilities, flags = super().frames(windows, sample_rate)
            return np.full_like(probabilities, np.nan), flags

    spy = Broken(loaded.engine)

    async def asked() -> None:
        # One window per call, nineteen of them waiting together.
        batcher = Batcher(1, 120.0, Metrics())
        batcher.at_once = lambda samples, sample_rate: 19 if asyncio.current_task() is question else 1  # type: ignore[method-assign]
        clip = Decoded(made_clip(10.0, 4000, 3)[:, 0], 4000, 1, False)
        question = asyncio.create_task(FramesQuestion().ask(batcher, Model(loaded.bundle, loaded.backend, spy), clip, None))
        await batcher.start()
        with pytest.raises(Refusal):
            await question
        # Whoever is left in the queue is asked before this one.
        with pytest.raises(Refusal):
            await batcher.answer(Model(loaded.bundle, loaded.backend, spy), clip.waveform[:4000], 4000, frames=True)
        await batcher.stop()

    asyncio.run(asked())
    # Some may have begun before the first one's refusal was heard of.
    assert len(spy.calls) < 10


def test_one_recording_that_fails_costs_no_other_its_answer(model: Model) -> None:
    class Picky(Spy):
        def answer(
            self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
        ) -> tuple[np.ndarray, np.ndarray]:
            if (lengths == 1234).any():
                raise RuntimeError("no")
            if (lengths == 1235).any():
                raise MemoryError
            return super().answer(waveform, sample_rate, lengths, metadata)

    picky = Model(model.bundle, model.backend, Picky(model.engine))
    clips = clips_of(picky, 3, rates=(4000,)) + [(picky, np.zeros(size, np.float32), 4000) for size in (1234, 1235)]
    *good, failed, starved = ask(clips)
    assert all(isinstance(answer, Answer) and answer.probabilities.shape == (len(LABELS),) for answer in good)
    assert isinstance(failed, Refusal) and failed.reason == "not_answered"
    assert isinstance(starved, Refusal) and starved.reason == "out_of_memory"


def test_an_answer_that_is_not_finite_is_refused(model: Model) -> None:
    class Broken(Spy):
        def answer(
            self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
        ) -> tuple[np.ndarray, np.ndarray]:
            probabilities, flags = super().answer(waveform, sample_rate, lengths, metadata)
            return np.where(lengths[:, np.newaxis] == 400, np.nan, probabilities), flags

    broken = Model(model.bundle, model.backend, Broken(model.engine))
    bad, good = ask([(broken, np.ones(400, np.float32), 4000), (broken, np.ones(500, np.float32), 4000)])
    assert isinstance(bad, Refusal) and bad.reason == "not_answered"
    assert isinstance(good, Answer)


def test_a_rate_without_a_common_divisor_is_refused(model: Model) -> None:
    (refused,) = ask([(model, np.zeros(44101, np.float32), 44101)])
    assert isinstance(refused, Refusal) and refused.reason == "unsupported_rate"

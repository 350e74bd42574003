"""Where in a recording the events are that the model tells frame by frame: ``/v1/frames``."""

import asyncio
from typing import Any

import numpy as np

from serve.batching import Answer, Batcher
from serve.decision import flag_names
from serve.decode import Decoded
from serve.engine import Model
from serve.errors import Refusal
from serve.frames import joined, windows_of
from serve.question import Question
from serve.schemas import EventAnswer, RecordingFrames


class FramesQuestion(Question[RecordingFrames]):
    """Metadata are checked as for any other question, and not used: frames are told by the sound alone."""

    answer = RecordingFrames

    def check(self, model: Model) -> None:
        if model.bundle.frames is None:
            raise Refusal("no_frames", "The model tells whole recordings only, not their frames: ask /v1/predict.")
        if model.frame_engine is None:
            raise Refusal("no_frames", f"The backend {model.backend} cannot ask the model for frames: serve the bundle by torch.")

    async def ask(self, batcher: Batcher, model: Model, decoded: Decoded, metadata: np.ndarray | None) -> tuple[list[str], dict[str, Any]]:
        description, about = model.bundle.description, model.bundle.frames
        assert about is not None
        windows = windows_of(len(decoded.waveform), decoded.sample_rate, description["clip_s"])
        answers: list[Answer] = []
        # In groups of one call of the model, so that a long recording lets others' through between two calls.
        at_once = batcher.at_once(windows.length, decoded.sample_rate)
        for first in range(0, len(windows.starts), at_once):
            cut = [decoded.waveform[start : start + windows.length] for start in windows.starts[first : first + at_once]]
            asked = [asyncio.ensure_future(batcher.answer(model, window, decoded.sample_rate, frames=True)) for window in cut]
            try:
                answers += await asyncio.gather(*asked)
            finally:
                # Where one is refused, nobody waits for the others.
                for question in asked:
                    question.cancel()
        rows = joined(windows, [answer.probabilities for answer in answers], about["frame_s"])
        flags = [flag_names(answer.flags, description) for answer in answers]
        events = zip(about["labels"], about["thresholds"], rows.probabilities.T.tolist(), strict=True)
        return flag_names(int(np.bitwise_or.reduce([answer.flags for answer in answers])), description), {
            "begin_s": rows.begin_s.tolist(),
            "end_s": rows.end_s.tolist(),
            "row_flags": [flags[number] for number in rows.window],
            "labels": [
                EventAnswer(label=label, threshold=threshold, probabilities=probabilities) for label, threshold, probabilities in events
            ],
        }

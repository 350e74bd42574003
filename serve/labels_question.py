"""Which of the model's labels a recording as a whole has: ``/v1/predict``."""

from typing import Any

import numpy as np

from serve.batching import Batcher
from serve.decision import flag_names, label_answers, the_one
from serve.decode import Decoded
from serve.engine import Model
from serve.metrics import Metrics
from serve.question import Question
from serve.schemas import RecordingAnswer


class LabelsQuestion(Question[RecordingAnswer]):
    answer = RecordingAnswer

    async def ask(self, batcher: Batcher, model: Model, decoded: Decoded, metadata: np.ndarray | None) -> tuple[list[str], dict[str, Any]]:
        answer = await batcher.answer(model, decoded.waveform, decoded.sample_rate, metadata)
        description = model.bundle.description
        labels = label_answers(answer.probabilities, description)
        return flag_names(answer.flags, description), {"labels": labels, "decided": the_one(labels, description)}

    def observe(self, metrics: Metrics, model: Model, answer: RecordingAnswer) -> None:
        for label in answer.labels:
            metrics.score.labels(label.label).observe(label.probability)
        probabilities = {label.label: label.probability for label in answer.labels}
        metrics.drift.observe(model.bundle.version, probabilities, answer.flags)

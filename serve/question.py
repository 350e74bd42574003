"""What can be asked of recordings: a question per address. All else about a request is the same for each of them."""

from typing import Any, Generic

import numpy as np

from serve.batching import Batcher
from serve.decode import Decoded
from serve.engine import Model
from serve.metrics import Metrics
from serve.schemas import A


class Question(Generic[A]):
    """One question.

    Attributes:
        answer: the type of what is said of a recording.
    """

    answer: type[A]

    def check(self, model: Model) -> None:
        """See whether a model can be asked.

        Raises:
            Refusal: it cannot.
        """

    async def ask(self, batcher: Batcher, model: Model, decoded: Decoded, metadata: np.ndarray | None) -> tuple[list[str], dict[str, Any]]:
        """Ask for one recording.

        Args:
            batcher: the queue before the model.
            model: that passed `check`.
            decoded: the recording.
            metadata: float32 [M]; None for a model that takes none.

        Returns:
            Names of its quality flags, and the fields of `answer` that only this question has.

        Raises:
            Refusal: the model has no answer for it.
        """
        raise NotImplementedError

    def observe(self, metrics: Metrics, model: Model, answer: A) -> None:
        """Count what only this question's answers have."""

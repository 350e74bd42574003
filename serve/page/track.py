"""Labels over time: overlapping windows of a recording, each answered as a recording of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from serve.page.client import Metadata, Service, ServiceError, batches
from serve.page.model_facts import ModelFacts
from serve.page.recording import Recording, wav
from serve.page.words import PRESENT, decision, faults
from serve.schemas import RecordingAnswer

# More windows than pixels of the picture's width would only cost time; longer recordings are then covered in longer steps.
MOST_WINDOWS = 400


@dataclass(frozen=True)
class Track:
    """What the model says of W windows.

    Attributes:
        labels: in the model's order.
        begin_s: [W], s.
        end_s: [W], s.
        probabilities: [W, L]; NaN where a window was not answered.
        present: bool [W, L]; decided, and not in the abstain band.
        faults: names of each window's quality flags and warnings.
    """

    labels: list[str]
    begin_s: np.ndarray
    end_s: np.ndarray
    probabilities: np.ndarray = field(repr=False)
    present: np.ndarray = field(repr=False)
    faults: list[list[str]] = field(repr=False)

    @property
    def step_s(self) -> float:
        """From the beginning of a window to that of the next, s; 0 for one window alone."""
        return float(self.begin_s[1] - self.begin_s[0]) if len(self.begin_s) > 1 else 0.0


def window_starts(samples: int, window: int, step: int) -> np.ndarray:
    """First samples of windows that cover a recording; the last one ends with it."""
    last = max(samples - window, 0)
    step = max(step, 1, -(-last // (MOST_WINDOWS - 1)))
    return np.append(np.arange(0, last, step), last)


def track(
    service: Service,
    facts: ModelFacts,
    recording: Recording,
    version: str,
    overlap: float = 0.5,
    metadata: Metadata | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
) -> Track:
    """Ask for every window.

    Args:
        service: to ask.
        facts: of its model; windows are as long as the model's.
        recording: to cut.
        version: of the bundle that answered the whole recording.
        overlap: of a window with the next, as a share of it, 0 to below 1.
        metadata: as for the whole recording.
        on_progress: called with the share that is done.

    Raises:
        ServiceError: windows were not answered, or by another bundle than the whole.
    """
    rate = recording.sample_rate
    window = max(round(facts.window_s * rate), 1)
    starts = window_starts(len(recording.waveform), window, round(window * (1 - overlap)))
    cut = [wav(recording.waveform[start : start + window], rate) for start in starts]
    results: list[RecordingAnswer] = []
    for batch in batches(cut, facts.limits):
        answers = service.predict(batch, metadata)
        if answers.version not in ("", version):
            raise ServiceError(f"The model of {service.name} was replaced meanwhile: ask again.")
        results += answers.results
        on_progress(len(results) / len(cut))
    missing = [float("nan")] * len(facts.labels)
    return Track(
        labels=facts.labels,
        begin_s=starts / rate,
        end_s=np.minimum(starts + window, len(recording.waveform)) / rate,
        probabilities=np.array([[label.probability for label in result.labels] or missing for result in results]),
        present=np.array([[decision(label) == PRESENT for label in result.labels] or [False] * len(facts.labels) for result in results]),
        faults=[faults(result) for result in results],
    )

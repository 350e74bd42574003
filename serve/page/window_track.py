"""Labels over time of a model that tells whole recordings only: overlapping windows, each answered as a recording of its own."""

from collections.abc import Callable

import numpy as np

from serve.frames import window_starts
from serve.page.client import Answers, Metadata, Service, batches
from serve.page.model_facts import ModelFacts
from serve.page.recording import Recording, wav
from serve.page.track import Track
from serve.page.words import PRESENT, decision, faults
from serve.schemas import RecordingAnswer

# More windows than pixels of the picture's width would only cost time; longer recordings are then covered in longer steps.
MOST_WINDOWS = 400


def bounded_starts(samples: int, window: int, step: int) -> np.ndarray:
    """First samples of at most `MOST_WINDOWS` windows that cover a recording; the last one ends with it."""
    return window_starts(samples, window, max(step, 1, -(-(samples - window) // (MOST_WINDOWS - 1))))


def window_track(
    service: Service,
    facts: ModelFacts,
    recording: Recording,
    whole: Answers[RecordingAnswer],
    overlap: float = 0.5,
    metadata: Metadata | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
) -> Track:
    """Ask for every window.

    Args:
        service: to ask.
        facts: of its model; windows are as long as the model's.
        recording: to cut.
        whole: what was answered to it as a whole.
        overlap: of a window with the next, as a share of it, 0 to below 1.
        metadata: as for the whole recording.
        on_progress: called with the share that is done.

    Raises:
        ServiceError: windows were not answered, or by another bundle than the whole.
    """
    rate, samples = recording.sample_rate, len(recording.waveform)
    window = max(round(facts.window_s * rate), 1)
    starts = bounded_starts(samples, window, round(window * (1 - overlap)))
    ends = np.minimum(starts + window, samples)
    cut = [wav(recording.waveform[start:end], rate) for start, end in zip(starts, ends, strict=True)]
    results: list[RecordingAnswer] = []
    for batch in batches(cut, facts.limits):
        answers = service.predict(batch, metadata)
        if answers.version not in ("", whole.version):
            raise service.replaced()
        results += answers.results
        on_progress(len(results) / len(cut))
    missing = [float("nan")] * len(facts.labels)
    middles = (starts + ends) / 2
    return Track(
        by="windows",
        labels=facts.labels,
        thresholds=[label.threshold for label in whole.results[0].labels],
        bands=facts.abstain,
        begin_s=starts / rate,
        end_s=ends / rate,
        # Halfway between the middles.
        edges_s=np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [samples]]) / rate,
        probabilities=np.array([[label.probability for label in result.labels] or missing for result in results]),
        present=np.array([[decision(label) == PRESENT for label in result.labels] or [False] * len(facts.labels) for result in results]),
        faults=[faults(result) for result in results],
    )

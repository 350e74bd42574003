"""All that the page says of one recording by one model."""

from collections.abc import Callable
from dataclasses import dataclass

from serve.errors import Refusal
from serve.page.client import Metadata, Service
from serve.page.drawing import Picture, overview, probabilities
from serve.page.frame_track import frame_track
from serve.page.model_facts import ModelFacts
from serve.page.recording import Recording, recording_of
from serve.page.track import Track
from serve.page.window_track import window_track
from serve.schemas import RecordingAnswer


class BadRecording(Exception):
    """Why a recording has no answer; its text is one sentence."""


@dataclass(frozen=True)
class Judgement:
    """An answer with its track and pictures."""

    service: str
    facts: ModelFacts
    recording: Recording
    result: RecordingAnswer
    track: Track
    bars: Picture
    overview: Picture


def judge(
    service: Service,
    facts: ModelFacts,
    name: str,
    content: bytes,
    overlap: float,
    metadata: Metadata | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
) -> Judgement:
    """Ask a service for a recording, and for its frames or, of a model that tells none, its windows.

    The service sees the file first: what it refuses is not decoded here.

    Args:
        service: to ask.
        facts: of its model.
        name: of the file, to show.
        content: of the file.
        overlap: of windows, as a share; frames have an overlap of their own.
        metadata: of the patient, where the model takes any.
        on_progress: called with the share of windows that is done.

    Raises:
        BadRecording: the service refuses it.
        ServiceError: the service gives no answer.
    """
    answers = service.predict([content], metadata)
    result = answers.results[0]
    if result.error is not None:
        raise BadRecording(result.error.message)
    if answers.version != facts.version:
        raise service.replaced()
    try:
        recording = recording_of(name, content, facts)
    except Refusal as refusal:
        raise BadRecording(refusal.message) from refusal
    if facts.frame_s is not None:
        over_time = frame_track(service, content, answers.version)
    else:
        over_time = window_track(service, facts, recording, answers, overlap, metadata, on_progress)
    return Judgement(
        service=service.name,
        facts=facts,
        recording=recording,
        result=result,
        track=over_time,
        bars=probabilities(result, facts),
        overview=overview(recording, facts, over_time),
    )

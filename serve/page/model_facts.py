"""What the page needs of a model's description, read once and in one place."""

from dataclasses import dataclass
from typing import Any

from serve.schemas import ModelAnswer

# Where the description does not say how long the model's windows are.
DEFAULT_WINDOW_S = 2.0


@dataclass(frozen=True)
class ModelFacts:
    """Of the bundle that a service answers with.

    Attributes:
        version: of the bundle.
        task: name of the task's class.
        labels: in the model's order.
        sample_rate: at which it hears, Hz.
        window_s: how long its windows are, s.
        frame_s: from one of its frames to the next, s, where the service tells events frame by frame; None where it does not.
        abstain: label -> (low, high) of the band in which it does not decide.
        metadata: what it takes beside the audio, as in model.json; None where nothing.
        limits: of the service.
        card: the model card, Markdown.
    """

    version: str
    task: str
    labels: list[str]
    sample_rate: int
    window_s: float
    frame_s: float | None
    abstain: dict[str, tuple[float, float]]
    metadata: dict[str, Any] | None
    limits: dict[str, float]
    card: str

    @property
    def band_hz(self) -> float:
        """The highest frequency that the model can hear, Hz."""
        return self.sample_rate / 2

    @property
    def features(self) -> str:
        """What it hears, in words."""
        beside = f", with {', '.join(self.metadata['columns'])}" if self.metadata else ""
        return f"sound up to {self.band_hz:g} Hz in windows of {self.window_s:g} s{beside}"


def facts_of(answer: ModelAnswer) -> ModelFacts:
    """Read ``/v1/model``'s answer.

    Raises:
        KeyError, TypeError, ValueError: it does not describe a model as this release knows them.
    """
    description = answer.description
    windows = [member["clip_s"] for member in (description, *(description.get("members") or [])) if member.get("clip_s")]
    return ModelFacts(
        version=answer.version,
        task=str(description["task"]["class_path"]).rpartition(".")[2],
        labels=[str(label) for label in description["labels"]],
        sample_rate=int(description["sample_rate"]),
        window_s=float(max(windows, default=DEFAULT_WINDOW_S)),
        frame_s=float(description["frames"]["frame_s"]) if answer.frames else None,
        abstain={label: (band[0], band[1]) for label, band in (description.get("abstain") or {}).items() if band},
        metadata=description.get("metadata"),
        limits=answer.limits,
        card=answer.card,
    )

"""What clients send and receive, with the examples that /openapi.json shows."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

NOTE = "Research software: not a diagnosis."


class Problem(BaseModel):
    """Why a request, or one of its recordings, was not answered."""

    code: int = Field(description="HTTP status", examples=[422])
    reason: str = Field(description="machine-readable; see docs/service.md", examples=["not_audio"])
    message: str = Field(description="one sentence", examples=["The recording does not begin as WAV, FLAC or OGG does."])


class ErrorAnswer(BaseModel):
    """Answer to a request that was refused as a whole."""

    error: Problem
    request_id: str = Field(description="the log names the request so", examples=["5f0c8d0e7f6b4b0c9d7a2f3e1c4b5a69"])


class LabelAnswer(BaseModel):
    label: str = Field(examples=["wheeze"])
    probability: float = Field(description="0 to 1", examples=[0.83])
    threshold: float = Field(description="from which on the label is decided", examples=[0.41])
    decided: bool = Field(description="by the thresholds and the model's label rule", examples=[True])
    undecided: bool = Field(description="whether a person should decide, by the model's abstain band or limit", examples=[False])


class AnyRecordingAnswer(BaseModel):
    """What is said of a recording, whatever was asked."""

    index: int = Field(description="place in the request, from 0", examples=[0])
    status: Literal["ok", "flagged", "failed"] = Field(description="flagged: the answer means little; failed: there is none")
    flags: list[str] = Field(default=[], description="names of the quality flags", examples=[[]])
    warnings: list[str] = Field(
        default=[], description="what else speaks against it, found by the service and not by the bundle: noise_only", examples=[[]]
    )
    duration_s: float | None = Field(default=None, description="s", examples=[15.0])
    sample_rate: int | None = Field(default=None, description="of the recording, Hz", examples=[4000])
    channels: int | None = Field(default=None, description="of the recording; they are averaged", examples=[1])
    error: Problem | None = Field(default=None, description="of a failed recording", examples=[None])


class RecordingAnswer(AnyRecordingAnswer):
    labels: list[LabelAnswer] = Field(default=[], description="in the model's order")
    decided: str | None = Field(
        default=None, description="the one label, where the model's exclude each other and none is undecided", examples=[None]
    )


class EventAnswer(BaseModel):
    label: str = Field(examples=["wheeze"])
    threshold: float = Field(description="from which probability on a row holds the event", examples=[0.55])
    probabilities: list[float] = Field(description="0 to 1, one per row", examples=[[0.08, 0.91, 0.12]])


class RecordingFrames(AnyRecordingAnswer):
    status: Literal["ok", "flagged", "failed"] = Field(
        description="flagged: rows that mean little are among them, see row_flags; failed: there are none"
    )
    flags: list[str] = Field(default=[], description="names of the quality flags of any row", examples=[[]])
    begin_s: list[float] = Field(default=[], description="where each row begins, s", examples=[[0.0, 0.16, 0.32]])
    end_s: list[float] = Field(
        default=[], description="where each row ends, s: where the next one begins, or the recording ends", examples=[[0.16, 0.32, 0.45]]
    )
    row_flags: list[list[str]] = Field(
        default=[], description="names of the quality flags of the window that each row comes from", examples=[[[], [], []]]
    )
    labels: list[EventAnswer] = Field(default=[], description="one per event that the model tells; they may be fewer than its labels")


A = TypeVar("A", bound=AnyRecordingAnswer)


class AnyAnswer(BaseModel, Generic[A]):
    model: str = Field(description="version of the bundle that answered all of them", examples=["3fd2a7b0c1e4"])
    request_id: str = Field(examples=["5f0c8d0e7f6b4b0c9d7a2f3e1c4b5a69"])
    results: list[A]
    note: str = Field(default=NOTE, examples=[NOTE])


class PredictAnswer(AnyAnswer[RecordingAnswer]):
    """Answers in the order of the recordings."""


class FramesAnswer(AnyAnswer[RecordingFrames]):
    """Events frame by frame, in the order of the recordings."""


class Recording(BaseModel):
    model_config = ConfigDict(extra="forbid")

    audio: str = Field(description="a WAV, FLAC or OGG file in base64", examples=["UklGRiQAAABXQVZFZm10IBAAAAABAAEA..."])
    metadata: dict[str, float | str | None] | None = Field(
        default=None, description="for a model that takes metadata: column -> value; null or absent is missing", examples=[None]
    )


class PredictRequest(BaseModel):
    """Recordings as JSON."""

    model_config = ConfigDict(extra="forbid")

    recordings: list[Recording]


class ModelAnswer(BaseModel):
    """The bundle that answers."""

    version: str = Field(description="first 12 hex digits of the SHA-256 of model.json", examples=["3fd2a7b0c1e4"])
    backend: Literal["torch", "onnx", "onnx-int8", "onnx-float16"]
    description: dict[str, Any] = Field(
        description="content of the bundle's model.json", examples=[{"labels": ["normal", "wheeze", "crackle"]}]
    )
    card: str = Field(description="model card, Markdown", examples=["# Model card"])
    limits: dict[str, float] = Field(description="what the service takes at most", examples=[{"max_seconds": 600}])
    frames: bool = Field(default=False, description="whether /v1/frames is answered by this bundle and backend", examples=[True])


class SwapAnswer(BaseModel):
    """Outcome of reading the bundle again."""

    outcome: Literal["swapped", "unchanged"]
    version: str = Field(examples=["3fd2a7b0c1e4"])
    previous: str = Field(examples=["90ab12cd34ef"])


class Health(BaseModel):
    status: Literal["ok", "not_ready"]


# The body of /v1/predict and /v1/frames is read by hand, since its limits must hold before it is in memory.
RECORDINGS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "one or many recordings"},
                        "metadata": {
                            "type": "string",
                            "description": "for a model that takes metadata: a JSON list with an object or null per recording",
                            "example": '[{"age": 61, "sex": "F"}]',
                        },
                    },
                    "required": ["file"],
                }
            },
            "application/json": {
                # Written out, since what is not a route's own model is not among the document's components.
                "schema": {
                    "type": "object",
                    "properties": {"recordings": {"type": "array", "items": Recording.model_json_schema()}},
                    "required": ["recordings"],
                    "additionalProperties": False,
                },
                "example": {"recordings": [{"audio": "UklGRiQAAABXQVZFZm10IBAAAAABAAEA..."}]},
            },
        },
    }
}

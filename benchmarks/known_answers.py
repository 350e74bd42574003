"""Recordings whose answers are known before the service is asked: those of the bundle's model.pt, called offline for each alone."""

import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.uploads import encoded
from common.errors import UserError
from finetune.events.judge import JudgeOfFrames, has_frames
from finetune.events.recording import find_events
from finetune.events.rule import event_rule
from finetune.events.windows import windows_for
from finetune.predict.model_file import ModelFile
from finetune.tasks.multilabel import MultiLabel

PREDICT, FRAMES = "/v1/predict", "/v1/frames"
TOLERANCE = 1e-5
# Seconds, Hz, channels, format, encoding: every kind of file that the service takes, and rates above, at and below a model's.
SHAPES = (
    (0.3, 4000, 1, "WAV", "PCM_16"),
    (2.0, 4000, 1, "FLAC", "PCM_16"),
    (5.0, 4000, 2, "WAV", "PCM_16"),
    (1.0, 8000, 1, "WAV", "PCM_24"),
    (10.0, 8000, 1, "FLAC", "PCM_16"),
    (1.5, 16000, 1, "WAV", "FLOAT"),
    (4.0, 44100, 1, "WAV", "PCM_16"),
    (3.0, 48000, 2, "FLAC", "PCM_24"),
    (1.0, 4000, 1, "WAV", "PCM_U8"),
    (2.0, 16000, 1, "OGG", "VORBIS"),
    (1.5, 11025, 3, "WAVEX", "FLOAT"),
    (1.0, 22050, 1, "RF64", "PCM_16"),
)


@dataclass(frozen=True)
class KnownAnswer:
    """A recording's file, and what the model says of it.

    Attributes:
        content: of the file.
        probabilities: of the labels, [L]; of events frame by frame, [E, N].
        path: where the service is asked for them.
    """

    content: bytes = field(repr=False)
    probabilities: np.ndarray
    path: str = PREDICT

    def difference(self, result: dict[str, Any]) -> float:
        """Largest difference to a probability of the service's answer; infinite where it has none or not as many."""
        key = "probabilities" if self.path == FRAMES else "probability"
        answered = np.array([label[key] for label in result["labels"]])
        if answered.shape != self.probabilities.shape:
            return float("inf")
        return float(np.abs(answered - self.probabilities).max())


def known_answers(bundle: Path, backend: str = "torch", frames: bool = False) -> list[KnownAnswer]:
    """Made recordings of several lengths, rates and formats with their answers.

    Args:
        bundle: folder that ``finetune export`` wrote.
        backend: of the service that is to be asked.
        frames: each of them also with its events frame by frame, in turns.

    Raises:
        UserError: it has no model.pt, or frames are wanted and the model or the backend tells none.
    """
    if frames and backend != "torch":
        raise UserError(f"--backend {backend} cannot be asked for frames: leave --frames out, or take --backend torch.")
    file = bundle / "model.pt"
    if not file.is_file():
        raise UserError(f"{file} does not exist: --bundle expects a folder that 'python -m finetune export' wrote.")
    module = torch.jit.load(str(file), map_location="cpu").eval()
    description = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    # What decides does not matter here.
    model = ModelFile(module, description, MultiLabel())
    if frames and not has_frames(model):
        raise UserError(f"{file} tells whole recordings only: leave --frames out, or give a bundle of a network over frames.")
    generator = np.random.default_rng(0)
    known = []
    for seconds, rate, channels, kind, subtype in SHAPES:
        samples = round(seconds * rate)
        swell = 0.2 + 0.1 * np.sin(2 * np.pi * 0.4 * np.arange(samples) / rate)[:, np.newaxis]
        content = encoded(swell * np.clip(generator.standard_normal((samples, channels)), -3, 3), rate, kind, subtype)
        waveform, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
        probabilities, _ = model.predict(waveform.mean(axis=1), rate)
        known.append(KnownAnswer(content, probabilities.astype(float)))
        if frames:
            known.append(KnownAnswer(content, _frames(model, content), FRAMES))
    return known


def _frames(model: ModelFile, content: bytes) -> np.ndarray:
    """Probabilities [E, N] of ``finetune events``."""
    judge = JudgeOfFrames(model)
    with tempfile.NamedTemporaryFile(suffix=".audio") as file:
        file.write(content)
        file.flush()
        found = find_events("known", Path(file.name), judge, event_rule(judge), windows_for(judge), keep_track=True)
    assert found.track is not None
    return found.track.probabilities.T.astype(float)

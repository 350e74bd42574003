"""Recordings whose answers are known before the service is asked: those of the bundle's model.pt, called offline for each alone."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.uploads import encoded
from common.errors import UserError

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
    """A recording's file, and the probabilities [L] that the model has for it."""

    content: bytes = field(repr=False)
    probabilities: np.ndarray

    def difference(self, result: dict[str, Any]) -> float:
        """Largest difference to a probability of the service's answer; infinite where it has none."""
        if not result["labels"]:
            return float("inf")
        answered = np.array([label["probability"] for label in result["labels"]])
        return float(np.abs(answered - self.probabilities).max())


def known_answers(bundle: Path) -> list[KnownAnswer]:
    """Made recordings of several lengths, rates and formats with their answers.

    Args:
        bundle: folder that ``finetune export`` wrote.

    Raises:
        UserError: it has no model.pt.
    """
    file = bundle / "model.pt"
    if not file.is_file():
        raise UserError(f"{file} does not exist: --bundle expects a folder that 'python -m finetune export' wrote.")
    module = torch.jit.load(str(file), map_location="cpu").eval()
    generator = np.random.default_rng(0)
    known = []
    for seconds, rate, channels, kind, subtype in SHAPES:
        samples = round(seconds * rate)
        swell = 0.2 + 0.1 * np.sin(2 * np.pi * 0.4 * np.arange(samples) / rate)[:, np.newaxis]
        content = encoded(swell * np.clip(generator.standard_normal((samples, channels)), -3, 3), rate, kind, subtype)
        waveform, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
        with torch.inference_mode():
            probabilities, _ = module(torch.from_numpy(waveform.mean(axis=1)).unsqueeze(0), rate)
        known.append(KnownAnswer(content, probabilities[0].double().numpy()))
    return known

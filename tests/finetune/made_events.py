"""A model small enough to work out by hand, as an exported file, and recordings in which it finds what was put there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from finetune.export.exported_model import ExportedModel
from finetune.export.metadata import FORMAT, METADATA_NAME
from finetune.predict.model_file import ModelFile
from finetune.tasks.multilabel import MultiLabel

RATE = 1000
# Samples of a frame.
FRAME = 40
LABELS = ("loud", "positive")


class Levels(nn.Module):
    """Of windows [W, T]: the mean size of the samples, and the share of them above 0."""

    def forward(self, windows: Tensor) -> Tensor:
        return torch.stack([windows.abs().mean(dim=1), (windows > 0).float().mean(dim=1)], dim=1)


class Steps(nn.Module):
    """Of the frames of windows [W, T], each of ``frame`` samples and the last one shorter: the mean size of the samples, [W, N, 1]."""

    def __init__(self, frame: int = FRAME) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, windows: Tensor) -> Tensor:
        return nn.functional.avg_pool1d(windows.abs().unsqueeze(1), self.frame, ceil_mode=True, count_include_pad=False).transpose(1, 2)


def made_model(window_s: float = 0.5, short_clips: str = "repeat", frames: bool = False) -> ModelFile:
    """A model of windows of ``window_s`` at 1 kHz that are half a window apart, with the thresholds 0.5 and 0.6.

    With ``frames`` it also tells in steps of 40 ms where it is loud, with the threshold 0.3.
    """
    window = round(window_s * RATE)
    traced, steps = (torch.jit.trace(module, torch.zeros(2, window)) for module in (Levels(), Steps()))
    framing: dict[str, Any] = {"framers": [steps], "frame_labels": ["loud"], "frame_s": FRAME / RATE} if frames else {}
    parts = (list(LABELS), [0.5, 0.6], RATE, window, window // 2, short_clips, "mean")
    model = ExportedModel([traced], *parts, **framing).eval()
    task = MultiLabel(labels=LABELS, exclusive=None)
    description = {"format": FORMAT, "labels": list(LABELS), "thresholds": [0.5, 0.6], "clip_s": window_s, "task": task.describe()}
    if frames:
        description["frames"] = {"labels": ["loud"], "frame_s": FRAME / RATE, "thresholds": [0.3]}
    return ModelFile(torch.jit.script(model), {**description, "sample_rate": RATE, "metadata": None}, task)


def write_model(path: Path, window_s: float = 0.5, frames: bool = False) -> Path:
    model = made_model(window_s, frames=frames)
    model.module.save(str(path), _extra_files={METADATA_NAME: json.dumps(model.metadata)})
    return path


def bursts(seconds: float, *spans: tuple[float, float], rate: int = RATE, level: float = 0.9) -> np.ndarray:
    """Silence with a square wave of 50 Hz in ``spans``, s: of size ``level`` there, and not much more than half of it positive."""
    time = np.arange(round(seconds * rate)) / rate
    inside = np.any([(time >= start) & (time < end) for start, end in spans], axis=0) if spans else np.zeros(len(time), bool)
    return (level * np.where(np.floor(time * 100 + 1e-6) % 2, 1.0, -1.0) * inside).astype(np.float32)


def write_recording(path: Path, waveform: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path

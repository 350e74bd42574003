"""A bundle as ``finetune export`` writes it, with a network too small to hear anything."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from common.audio.quality import FLAG_NAMES
from finetune.export.exported_model import ExportedModel
from finetune.export.file import script

LABELS = ["normal", "wheeze", "crackle"]
RATE = 4000
WINDOW = 4000
GOLDEN = {"short": (0.4, 4000), "long": (2.3, 8000), "silent": (1.0, 4000)}


class TinyNetwork(nn.Module):
    """Windows [W, T] to probabilities [W, L]; larger than 0.1 apart between unlike windows."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("filters", torch.randn(6, 1, 9, generator=generator))
        self.register_buffer("weight", torch.randn(len(LABELS), 6, generator=generator))

    def forward(self, windows: Tensor) -> Tensor:
        filtered = nn.functional.conv1d(windows.unsqueeze(1), self.filters, stride=4).abs().mean(dim=2)
        return torch.sigmoid(nn.functional.linear(torch.log(filtered + 1e-3), self.weight))


def tiny_model(seed: int) -> torch.jit.ScriptModule:
    """The real wrapper, scripted: rates, lengths, windows and flags are those of an exported file."""
    network = TinyNetwork(seed)
    return script(ExportedModel([network], LABELS, [0.5] * len(LABELS), RATE, WINDOW, WINDOW // 2, "repeat", "mean").eval())


def made_clip(seconds: float, rate: int, seed: int, channels: int = 1) -> np.ndarray:
    """Noise float32 [T, channels] whose colour and level depend on the seed."""
    noise = np.random.default_rng(seed).normal(size=(max(1, round(seconds * rate)) + 6, channels))
    mixed = sum(noise[delay : len(noise) - 6 + delay] for delay in range(1 + seed % 7))
    return (0.4 * mixed / np.abs(mixed).max() / (1 + seed % 3)).astype(np.float32)


def made_bundle(folder: Path, seed: int = 0, **description: Any) -> Path:
    """Write a bundle.

    Args:
        folder: to make.
        seed: of the network's weights.
        description: replaces keys of model.json.
    """
    module = tiny_model(seed)
    (folder / "golden").mkdir(parents=True)
    module.save(str(folder / "model.pt"))
    (folder / "MODEL_CARD.md").write_text("# Model card\n", encoding="utf-8")
    expected = {"format": "auscult.golden/1", "tolerance": 1e-4, "labels": LABELS, "clips": golden_clips(folder / "golden", module)}
    (folder / "golden" / "expected.json").write_text(json.dumps(expected), encoding="utf-8")
    write_description(
        folder,
        {
            "format": "auscult.model/1",
            "file_type": "bundle",
            "labels": LABELS,
            "thresholds": [0.5, 0.4, 0.6],
            "decoding": "thresholds",
            "task": {"class_path": "finetune.tasks.MultiLabel", "init_args": {"exclusive": "normal"}},
            "sample_rate": RATE,
            "flags": {str(bit): name for bit, name in FLAG_NAMES.items()},
            "metadata": None,
            "limits": {"min_s": 0.1, "max_s": 600, "min_rate_hz": 1000, "max_rate_hz": 192000},
            "abstain": {"normal": None, "wheeze": [0.3, 0.5], "crackle": None},
            "golden": {"expected": "golden/expected.json", "tolerance": 1e-4},
            **description,
        },
    )
    return folder


def golden_clips(folder: Path, module: torch.jit.ScriptModule) -> list[dict[str, Any]]:
    clips = []
    for number, (name, (seconds, rate)) in enumerate(GOLDEN.items()):
        waveform = made_clip(seconds, rate, number)[:, 0] * (name != "silent")
        soundfile.write(folder / f"{name}.wav", waveform, rate, subtype="PCM_16")
        heard, _ = soundfile.read(folder / f"{name}.wav", dtype="float32")
        with torch.inference_mode():
            probabilities, flags = module(torch.from_numpy(heard).unsqueeze(0), rate)
        about = {"name": name, "file": f"{name}.wav", "sample_rate": rate, "samples": len(heard), "nan_at": None}
        clips.append({**about, "probabilities": probabilities[0].tolist(), "flags": int(flags[0])})
    return clips


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write model.json with the hashes of all files that are there."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("model.json", "SIGNATURE")
    }
    (folder / "model.json").write_text(json.dumps({**description, "files": files}, indent=2), encoding="utf-8")

"""A bundle as ``finetune export`` writes it, with a network too small to hear anything."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from common.audio.quality import FLAG_NAMES
from finetune.export.exported_model import ExportedModel
from finetune.export.file import script
from tests.finetune.made_events import Steps

LABELS = ["normal", "wheeze", "crackle"]
RATE = 4000
WINDOW = 4000
# Of the frames, which neither divide a window nor what it overlaps by.
FRAME = 300
FRAMES = {"labels": ["wheeze", "crackle"], "frame_s": FRAME / RATE, "thresholds": [0.55, 0.4]}
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


class TinyFramer(nn.Module):
    """Windows [W, T] to probabilities of two events in each frame, [W, N, 2]: one where it is loud, the other one where it is not."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.steps = Steps(FRAME)
        self.slope = 80.0 + seed

    def forward(self, windows: Tensor) -> Tensor:
        loud = self.slope * (self.steps(windows) - 0.05)
        return torch.sigmoid(torch.cat([loud, -0.5 * loud], dim=2))


def tiny_model(seed: int, frames: bool = False) -> torch.jit.ScriptModule:
    """The real wrapper, scripted: rates, lengths, windows and flags are those of an exported file."""
    framing: dict[str, Any] = {}
    if frames:
        framer = torch.jit.trace(TinyFramer(seed), torch.zeros(2, WINDOW))
        framing = {"framers": [framer], "frame_labels": FRAMES["labels"], "frame_s": FRAMES["frame_s"]}
    parts = (LABELS, [0.5] * len(LABELS), RATE, WINDOW, WINDOW // 2, "repeat", "mean")
    return script(ExportedModel([TinyNetwork(seed)], *parts, **framing).eval())


def made_clip(seconds: float, rate: int, seed: int, channels: int = 1) -> np.ndarray:
    """Noise float32 [T, channels] whose colour and level depend on the seed."""
    noise = np.random.default_rng(seed).normal(size=(max(1, round(seconds * rate)) + 6, channels))
    mixed = sum(noise[delay : len(noise) - 6 + delay] for delay in range(1 + seed % 7))
    return (0.4 * mixed / np.abs(mixed).max() / (1 + seed % 3)).astype(np.float32)


def made_bundle(folder: Path, seed: int = 0, frames: bool = False, **description: Any) -> Path:
    """Write a bundle.

    Args:
        folder: to make.
        seed: of the network's weights.
        frames: it also tells the events `FRAMES` frame by frame.
        description: replaces keys of model.json.
    """
    module = tiny_model(seed, frames)
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
            **({"frames": FRAMES, "clip_s": WINDOW / RATE} if frames else {}),
            **description,
        },
    )
    return folder


def reference(counts: dict[str, list[int]], flags: dict[str, float] | None) -> dict[str, Any]:
    """The key of model.json with which drift is measured: counts in 20 bins by label, and shares of the flags that are not 0."""
    shares = None if flags is None else {**dict.fromkeys(FLAG_NAMES.values(), 0.0), **flags}
    clips = sum(next(iter(counts.values())))
    edges = (np.arange(21) / 20).tolist()
    return {"edges": edges, "probabilities": counts, "clips": clips, "flags": shares, "flagged_clips": None if flags is None else clips}


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


def made_onnx_bundle(folder: Path, slope: float = 20.0, **description: Any) -> Path:
    """A bundle with a ``model.onnx`` that hears the mean of the absolute samples, and flags silence, what is short, and what is not finite.

    It opens without torch, which takes seconds.

    Args:
        folder: to make.
        slope: of the last label's probability over that mean; the other labels' are -8 and 4.
        description: as in `made_bundle`.
    """
    onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    graph = """
    <ir_version: 8, opset_import: ["" : 18]>
    tiny (float[B, T] waveform, int64[B] lengths) => (float[B, L] probabilities, int64[B] flags)
    {
        zero = Constant <value: tensor = int64 {0}> ()
        one = Constant <value: tensor = int64 {1}> ()
        ones = Constant <value: tensor = int64[1] {1}> ()
        silent = Constant <value: tensor = int64 {1}> ()
        not_finite = Constant <value: tensor = int64 {8}> ()
        too_short = Constant <value: tensor = int64 {4}> ()
        shortest = Constant <value: tensor = int64 {400}> ()
        nothing = Constant <value: tensor = float {0.0}> ()
        scale = Constant <value: tensor = float[1, 3] {-8.0, 4.0, SLOPE}> ()
        shape = Shape (waveform)
        samples = Gather <axis: int = 0> (shape, one)
        position = Range (zero, samples, one)
        length = Unsqueeze (lengths, ones)
        valid = Less (position, length)
        heard = Where (valid, waveform, nothing)
        nan = IsNaN (heard)
        finite = Where (nan, nothing, heard)
        loud = Abs (finite)
        total = ReduceSum <keepdims: int = 1> (loud, ones)
        number = Cast <to: int = 1> (length)
        mean = Div (total, number)
        scaled = Mul (mean, scale)
        probabilities = Sigmoid (scaled)
        peak = ReduceMax <keepdims: int = 0> (loud, ones)
        is_silent = Equal (peak, nothing)
        nan_number = Cast <to: int = 7> (nan)
        nans = ReduceSum <keepdims: int = 0> (nan_number, ones)
        any_nan = Greater (nans, zero)
        is_short = Less (lengths, shortest)
        a = Where (is_silent, silent, zero)
        b = Where (any_nan, not_finite, zero)
        c = Where (is_short, too_short, zero)
        ab = Add (a, b)
        flags = Add (ab, c)
    }
    """
    made_bundle(folder, golden=None, onnx={"file": "model.onnx", "sample_rate": RATE}, **description)
    onnx.save(onnx.parser.parse_model(graph.replace("SLOPE", str(slope))), folder / "model.onnx")
    write_description(folder, json.loads((folder / "model.json").read_text(encoding="utf-8")))
    return folder

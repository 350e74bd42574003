"""Where the time of each way goes: its parts, each on its own input, one after the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch

from benchmarks.latency.timing import Way, in_turns, median_ms
from benchmarks.latency.ways import BareNetwork, Eager, Librosa, Onnx, TorchScript, read, windows_of
from common.audio.quality import quality_flags
from common.audio.resample import resample


def parts_ms(
    torchscript: TorchScript, onnx: Onnx, eager: Eager, librosa: Librosa, paths: Sequence[Path], seconds: float
) -> dict[str, float]:
    """Median milliseconds of each part for ``paths``; ``seconds`` as in `in_turns`. The names' meaning stands in benchmarks/README.md."""
    classifier = eager.classifier
    waveform, rate = read(paths)
    recorded = torch.from_numpy(waveform)
    lengths = torch.full([len(recorded)], recorded.shape[1])
    at_rate = resample(recorded, rate, onnx.sample_rate)
    windows, _ = windows_of(at_rate, classifier)
    judged = {"waveform": waveform, "lengths": lengths.numpy(), "sample_rate": np.array([rate])}
    parts: dict[str, Way] = {
        "read": read,
        "resample": lambda paths: resample(recorded, rate, onnx.sample_rate),
        "quality_flags": lambda paths: quality_flags(recorded, lengths, rate),
        "torchscript_at_its_rate": lambda paths: torchscript.model(at_rate, onnx.sample_rate),
        "soxr": lambda paths: [soxr.resample(row, rate, onnx.sample_rate) for row in waveform],
        "onnx_quality_flags": lambda paths: onnx.judge.run(["flags"], judged),
        "onnx_at_its_rate": lambda paths: onnx.answer(at_rate.numpy()),
        "front_end": lambda paths: classifier.front_end(windows),
        "network": BareNetwork(classifier, paths),
        "librosa_load": librosa.load,
        "librosa_mel": lambda paths: librosa.mel(windows.numpy()),
    }
    with torch.inference_mode():
        return median_ms(in_turns(parts, paths, seconds))

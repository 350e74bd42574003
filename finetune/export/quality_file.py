"""``quality.onnx``: the quality flags alone, of a recording at any rate.

Flags are of a recording as it was made, but `model.onnx` takes its own rate only, and ONNX Runtime computes the whole of a graph even if
only its flags are asked for. So who resamples for the model judges by this file before.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.audio.quality import quality_flags
from finetune.bundle.contents import QUALITY
from finetune.export.recorded import record, save_onnx


class _Judge(nn.Module):
    def forward(self, waveform: Tensor, lengths: Tensor, sample_rate: Any) -> Tensor:
        return quality_flags(waveform, lengths, sample_rate)


def write_quality(folder: Path) -> str:
    """Write the file into the bundle's folder; returns its name.

    Inputs ``waveform`` float32 [B, T], ``lengths`` int64 [B], ``sample_rate`` int64 [1], Hz; output ``flags`` int64 [B].
    """
    batch, samples = torch.export.Dim("B"), torch.export.Dim("T", min=2)
    example = {"waveform": torch.linspace(-0.5, 0.5, 3 * 1000).view(3, 1000), "lengths": torch.tensor([1000, 500, 2])}
    program = record(
        _Judge().eval(),
        {**example, "sample_rate": torch.tensor([8000])},
        {"waveform": {0: batch, 1: samples}, "lengths": {0: batch}, "sample_rate": {}},
    )
    save_onnx(folder / QUALITY, program, ["flags"], {})
    return QUALITY

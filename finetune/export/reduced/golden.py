"""The golden clips' answers by a reduced twin, which are its own and not those of ``model.pt``."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.files import write_json
from finetune.bundle.contents import EXPECTED, ONNX

# Of a probability, between the exporting machine and another. In 8 bits a difference of rounding before the encoder takes some activations
# one step up or down; some processors compute in half precision where this one computes in float32 between roundings.
TOLERANCES = {"int8": 0.02, "float16": 0.005}


def write_golden(folder: Path, kind: str, onnx: dict[str, Any]) -> dict[str, Any]:
    """Write the answers of ``model.<kind>.onnx`` to the golden clips at its rate.

    Args:
        folder: of the bundle, with the golden clips of ``model.pt``.
        kind: of the twin.
        onnx: what model.json says of ``model.onnx``.

    Returns:
        ``golden`` (``expected`` and ``tolerance``) and ``difference``, the largest to ``model.pt`` in a probability of these clips.
    """
    from finetune.bundle import verify_onnx

    golden = json.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    clips = [clip for clip in golden["clips"] if clip["sample_rate"] == onnx["sample_rate"]]
    session = verify_onnx.opened(folder / ONNX.replace(".onnx", f".{kind}.onnx"))
    answers = [verify_onnx.answer(session, folder, clip, onnx)[0] for clip in clips]
    difference = max(float(np.abs(found - clip["probabilities"]).max()) for found, clip in zip(answers, clips, strict=True))
    changed = [{**clip, "probabilities": found.tolist()} for found, clip in zip(answers, clips, strict=True)]
    expected = str(PurePosixPath(EXPECTED).with_suffix(f".{kind}.json"))
    write_json(folder / expected, {**golden, "tolerance": TOLERANCES[kind], "clips": changed})
    return {"golden": {"expected": expected, "tolerance": TOLERANCES[kind]}, "difference": difference}

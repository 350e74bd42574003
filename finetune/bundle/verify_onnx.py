"""Check the bundle that holds this script with onnxruntime and numpy: hashes, then golden clips. ``python verify_onnx.py [FOLDER]``."""

import hashlib
import json
import os
import sys
import wave
from pathlib import Path
from typing import Any

# Before the import: else it calls a host of its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime


def check(folder: Path) -> dict[str, Any]:
    """Versions and the largest difference; a ValueError of one sentence where the bundle does not answer as it did when it was made."""
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    about = description["onnx"]
    if "reason" in about:
        raise ValueError(f"this bundle has no model.onnx: {about['reason']}.")
    if not {"model.onnx", "golden/expected.json"} <= description["files"].keys():
        raise ValueError("model.json names no hash of model.onnx and golden/expected.json: do not load this bundle.")
    for name, wanted in description["files"].items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
            raise ValueError(f"{name} is not the file that model.json names: do not load this bundle.")
    golden = json.loads((folder / "golden/expected.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    clips = [clip for clip in golden["clips"] if clip["sample_rate"] == about["sample_rate"]]
    worst = 0.0
    for clip in clips:
        with wave.open(str(folder / "golden" / clip["file"])) as file:
            waveform = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32)[np.newaxis] / 32768
        if clip["nan_at"] is not None:
            waveform[0, clip["nan_at"]] = np.nan
        inputs = {"waveform": waveform, "lengths": np.array([waveform.shape[1]], dtype=np.int64)}
        for more in about["inputs"][2:]:
            inputs[more["name"]] = np.full((1, more["shape"][1]), np.nan, dtype=np.float32)
        probabilities, flags = session.run(["probabilities", "flags"], inputs)
        difference = float(np.abs(probabilities[0] - np.array(clip["probabilities"])).max())
        if not difference <= golden["tolerance"] or int(flags[0]) != clip["flags"]:
            raise ValueError(
                f"model.onnx answers {clip['name']} with a difference of {difference:.1e} and flags {int(flags[0])}: not the same."
            )
        worst = max(worst, difference)
    left_out = len(golden["clips"]) - len(clips)
    return {"onnxruntime": onnxruntime.__version__, "clips": len(clips), "at_other_rates": left_out, "largest_difference": worst}


if __name__ == "__main__":
    try:
        found = check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
        print(json.dumps({**found, "python": sys.version.split()[0]}))
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")

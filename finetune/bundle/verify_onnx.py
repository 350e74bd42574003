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
    """Versions and the largest differences; a ValueError of one sentence where the bundle does not answer as it did when it was made."""
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    about = description["onnx"]
    if "reason" in about:
        raise ValueError(f"this bundle has no model.onnx: {about['reason']}.")
    expected = {"model.onnx": "golden/expected.json"}
    expected |= {twin["file"]: twin["golden"]["expected"] for twin in description.get("twins", {}).values() if "file" in twin}
    opens = [*expected, *expected.values(), *([about["quality"]] if "quality" in about else [])]
    if not set(opens) <= description["files"].keys():
        raise ValueError(f"model.json does not name the hashes of {', '.join(opens)}: do not load this bundle.")
    for name, wanted in description["files"].items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
            raise ValueError(f"{name} is not the file that model.json names: do not load this bundle.")
    found = {name: _compared(folder, name, golden, about) for name, golden in expected.items()}
    if "quality" in about:
        _check_flags(folder, about["quality"], json.loads((folder / expected["model.onnx"]).read_text(encoding="utf-8")))
    figures = {"onnxruntime": onnxruntime.__version__, **found.pop("model.onnx")}
    return {**figures, "twins": {name: of_twin["largest_difference"] for name, of_twin in found.items()}}


def _compared(folder: Path, name: str, expected: str, about: dict[str, Any]) -> dict[str, Any]:
    golden = json.loads((folder / expected).read_text(encoding="utf-8"))
    session = opened(folder / name)
    clips = [clip for clip in golden["clips"] if clip["sample_rate"] == about["sample_rate"]]
    worst = 0.0
    for clip in clips:
        probabilities, flags = answer(session, folder, clip, about)
        difference = float(np.abs(probabilities - np.array(clip["probabilities"])).max())
        if not difference <= golden["tolerance"] or flags != clip["flags"]:
            raise ValueError(f"{name} answers {clip['name']} with a difference of {difference:.1e} and flags {flags}: not the same.")
        worst = max(worst, difference)
    return {"clips": len(clips), "at_other_rates": len(golden["clips"]) - len(clips), "largest_difference": worst}


def _check_flags(folder: Path, name: str, golden: dict[str, Any]) -> None:
    session = opened(folder / name)
    for clip in golden["clips"]:
        (flags,) = session.run(["flags"], {**inputs(folder, clip), "sample_rate": np.array([clip["sample_rate"]], dtype=np.int64)})
        if int(flags[0]) != clip["flags"]:
            raise ValueError(f"{name} gives {clip['name']} the flags {flags[0]}, expected {clip['flags']}: not the same.")


def opened(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def inputs(folder: Path, clip: dict[str, Any]) -> dict[str, np.ndarray]:
    """What of a golden clip is the same for every model: waveform [1, T] and lengths [1]."""
    with wave.open(str(folder / "golden" / clip["file"])) as file:
        waveform = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32)[np.newaxis] / 32768
    if clip["nan_at"] is not None:
        waveform[0, clip["nan_at"]] = np.nan
    return {"waveform": waveform, "lengths": np.array([waveform.shape[1]], dtype=np.int64)}


def answer(session: onnxruntime.InferenceSession, folder: Path, clip: dict[str, Any], about: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Probabilities [L] and flags of a golden clip at the file's rate."""
    given = inputs(folder, clip)
    for more in about["inputs"][2:]:
        given[more["name"]] = np.full((1, more["shape"][1]), np.nan, dtype=np.float32)
    probabilities, flags = session.run(["probabilities", "flags"], given)
    return probabilities[0], int(flags[0])


if __name__ == "__main__":
    try:
        found = check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
        print(json.dumps({**found, "python": sys.version.split()[0]}))
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")

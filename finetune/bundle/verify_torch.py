"""Check the bundle that holds this script with torch alone: hashes first, then every golden clip. ``python verify_torch.py [FOLDER]``."""

import hashlib
import json
import sys
import wave
from pathlib import Path
from typing import Any

import torch


def check(folder: Path) -> dict[str, Any]:
    """Versions and the largest difference; a ValueError of one sentence where the bundle does not answer as it did when it was made."""
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if not {"model.pt", "golden/expected.json"} <= description["files"].keys():
        raise ValueError("model.json names no hash of model.pt and golden/expected.json: do not load this bundle.")
    for name, wanted in description["files"].items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
            raise ValueError(f"{name} is not the file that model.json names: do not load this bundle.")
    golden = json.loads((folder / "golden/expected.json").read_text(encoding="utf-8"))
    model = torch.jit.load(str(folder / "model.pt"), map_location="cpu").eval()
    worst = 0.0
    for clip in golden["clips"]:
        with wave.open(str(folder / "golden" / clip["file"])) as file:
            samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
        waveform = samples.float().unsqueeze(0) / 32768
        if clip["nan_at"] is not None:
            waveform[0, clip["nan_at"]] = float("nan")
        with torch.inference_mode():
            probabilities, flags = model(waveform, clip["sample_rate"])
        difference = float((probabilities[0] - torch.tensor(clip["probabilities"])).abs().max())
        if not difference <= golden["tolerance"] or int(flags[0]) != clip["flags"]:
            raise ValueError(
                f"model.pt answers {clip['name']} with a difference of {difference:.1e} and flags {int(flags[0])}: not the same."
            )
        worst = max(worst, difference)
    return {"torch": str(torch.__version__), "clips": len(golden["clips"]), "largest_difference": worst}


if __name__ == "__main__":
    try:
        found = check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
        print(json.dumps({**found, "python": sys.version.split()[0]}))
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")

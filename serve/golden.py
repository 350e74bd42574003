"""A bundle's golden clips: made recordings whose answers it states, asked on this machine before it answers anyone else."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from serve.bundle import Bundle
from serve.errors import StartError

if TYPE_CHECKING:
    from serve.engine import Engine


def check_golden(bundle: Bundle, engine: "Engine", folder: Path) -> None:
    """Ask every golden clip.

    Raises:
        StartError: a probability is further from the expected one than the bundle's tolerance, or a flag differs.
    """
    if bundle.golden is None:
        return
    tolerance = float(bundle.golden["tolerance"])
    for clip in bundle.golden["clips"]:
        waveform = _waveform(bundle, clip)
        probabilities, flags = engine.answer(waveform[np.newaxis], clip["sample_rate"], np.array([len(waveform)]), _unknown(bundle))
        difference = float(np.abs(probabilities[0] - np.array(clip["probabilities"])).max())
        if not difference <= tolerance or int(flags[0]) != clip["flags"]:
            raise StartError(
                f"{folder} does not answer its golden clip {clip['name']!r} as it must on this machine (a probability differs by "
                f"{difference:.1e}, at most {tolerance:.0e} is allowed; flags {int(flags[0])}, expected {clip['flags']}): do not serve it; "
                "see model.json's 'tested_with' for the versions that it was tested with."
            )


def _waveform(bundle: Bundle, clip: dict[str, Any]) -> np.ndarray:
    waveform, _ = soundfile.read(io.BytesIO(bundle.clips[clip["file"]]), dtype="float32")
    if clip.get("nan_at") is not None:
        waveform[clip["nan_at"]] = np.nan
    return waveform


def _unknown(bundle: Bundle) -> np.ndarray | None:
    return None if bundle.metadata is None else np.full((1, len(bundle.metadata["columns"])), np.nan, np.float32)

"""Golden clips: made recordings with the answers of ``model.pt``, by which a bundle is checked on the machine that loads it."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.files import write_json
from finetune.bundle.contents import EXPECTED, GOLDEN, GOLDEN_FORMAT, TOLERANCE


def write_golden(folder: Path, file: torch.jit.ScriptModule) -> None:
    """Write the clips and ``expected.json`` into the bundle's ``folder``: no patient's, shorter and longer than a window, several rates.

    Args:
        folder: of the bundle.
        file: ``model.pt``.
    """
    rate, window_s = file.sample_rate, file.window / file.sample_rate
    other = 16000 if rate == 8000 else 8000
    made = {
        "short": (rate, breath(max(0.1, 0.4 * window_s), rate, seed=0)),
        "window": (rate, breath(window_s, rate, seed=1)),
        "long": (rate, breath(3.3 * window_s, rate, seed=2)),
        "silence": (rate, np.zeros(rate, dtype="<i2")),
        # 191 Hz divides no rate: of a wave that repeats itself there would be too few levels to tell clipping from rounding.
        "clipped": (rate, np.round(16000 * (2 * np.sin(2 * np.pi * 191 * np.arange(rate) / rate)).clip(-1, 1)).astype("<i2")),
        "hz_44100": (44100, breath(1.2 * window_s, 44100, seed=3)),
        f"hz_{other}": (other, breath(max(0.1, 0.7 * window_s), other, seed=4)),
    }
    (folder / GOLDEN).mkdir()
    clips = []
    for name, (sample_rate, samples) in made.items():
        with wave.open(str(folder / GOLDEN / f"{name}.wav"), "wb") as out:
            out.setparams((1, 2, sample_rate, len(samples), "NONE", "not compressed"))
            out.writeframes(samples.tobytes())
        clips.append(_answered(file, name, f"{name}.wav", sample_rate, samples, None))
    rate, samples = made["window"]
    clips.append(_answered(file, "nan", "window.wav", rate, samples, len(samples) // 3))
    write_json(folder / EXPECTED, {"format": GOLDEN_FORMAT, "tolerance": TOLERANCE, "labels": list(file.labels), "clips": clips})


def breath(duration_s: float, sample_rate: int, seed: int) -> np.ndarray:
    """Something like breathing, int16 [T]: noise that swells every 3 s, with a tone and clicks in half of the swells."""
    random = np.random.default_rng(seed)
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    swell = np.sin(np.pi * time / 3) ** 2
    # A running mean over half a millisecond: breath has little above 1 kHz.
    noise = np.convolve(random.standard_normal(len(time)), np.ones(max(1, sample_rate // 2000)) / max(1, sample_rate // 2000), "same")
    sound = swell * (0.1 * noise + (time % 6 < 3) * 0.15 * np.sin(2 * np.pi * random.uniform(200, 500) * time))
    clicks = random.integers(0, len(time), max(1, round(4 * duration_s)))
    sound[clicks] += 0.4 * swell[clicks]
    return np.round(32767 * sound.clip(-0.99, 0.99)).astype("<i2")


def _answered(
    file: torch.jit.ScriptModule, name: str, wav: str, sample_rate: int, samples: np.ndarray, nan_at: int | None
) -> dict[str, Any]:
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768).unsqueeze(0)
    if nan_at is not None:
        waveform[0, nan_at] = torch.nan
    with torch.inference_mode():
        probabilities, flags = file(waveform, sample_rate)
    return {
        "name": name,
        "file": wav,
        "sample_rate": sample_rate,
        "samples": len(samples),
        "nan_at": nan_at,
        "probabilities": probabilities[0].tolist(),
        "flags": int(flags[0]),
    }

"""Decode one recording and judge it and its clips: the part of the audit that runs in worker processes."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from common.audio.quality import CLIPPED, FLAG_NAMES, NOT_FINITE, quality_flags
from common.audio.read import decodable_frames, decoder_words, read_audio, read_header, to_mono
from common.audio.resample import MAX_KERNEL_NUMBERS, kernel_numbers
from common.audit.container import promised_bytes, shortfall
from common.errors import UserError

# Annotations are rounded, to milliseconds or to a breath by eye; what overhangs by less is read to the recording's end.
END_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class ClipBorders:
    """Where a clip lies: its row in the manifest, start and end in s (None: the recording's end)."""

    row: int
    start_s: float
    end_s: float | None


@dataclass(frozen=True)
class Recording:
    """A file and the clips that are cut from it."""

    path: str
    clips: tuple[ClipBorders, ...]


@dataclass
class Observation:
    """What was found at one clip.

    Attributes:
        row: the clip's row in the manifest.
        faults: reason code and detail of each.
        digest: hash of the clip's samples; None when it has none.
        end_s: the recording's end, where the clip's end was corrected to it.
        sample_rate: of the file, Hz; None when it does not open.
        duration_s: of the recording, s; None when it does not open.
    """

    row: int
    faults: list[tuple[str, str]] = field(default_factory=list)
    digest: str | None = None
    end_s: float | None = None
    sample_rate: int | None = None
    duration_s: float | None = None


def examine(recording: Recording, sample_rate: int) -> list[Observation]:
    """Decode a recording once and judge each of its clips.

    Args:
        recording: the file and its clips.
        sample_rate: rate that it will be resampled to, Hz.
    """
    path = Path(recording.path)
    fault, waveform, rate = _decode(path)
    if fault is None and kernel_numbers(rate, sample_rate) > MAX_KERNEL_NUMBERS:
        fault = ("unsupported_rate", f"{rate} Hz cannot be resampled to {sample_rate} Hz: convert the file to a common rate")
    if fault is not None:
        return [Observation(clip.row, [fault]) for clip in recording.clips]
    return [_examine_clip(clip, waveform, rate) for clip in recording.clips]


def _decode(path: Path) -> tuple[tuple[str, str] | None, np.ndarray, int]:
    """The recording's fault or None, its samples float32 [channels, T], its rate."""
    nothing = np.zeros((1, 0), np.float32)
    if not path.is_file():
        return ("missing_file", "no such file"), nothing, 0
    size = path.stat().st_size
    if size == 0:
        return ("empty_file", "0 bytes"), nothing, 0
    try:
        waveform, rate = read_audio(path)
    except UserError as error:
        return _unreadable(path, size, decoder_words(error.__cause__ if isinstance(error.__cause__, Exception) else error)), nothing, 0
    short = shortfall(path, waveform.shape[1])
    if waveform.shape[1] == 0:
        return ("no_samples", short or f"{size} bytes, and its header says that none of them are samples"), nothing, 0
    if short:
        return ("truncated", short), nothing, 0
    return None, waveform, rate


def _unreadable(path: Path, size: int, words: str) -> tuple[str, str]:
    """Tell a file whose header opens but whose samples end early (FLAC) from one that does not open at all."""
    try:
        read_header(path)
    except UserError:
        try:
            promised = promised_bytes(path)
        except OSError as denied:
            return "not_openable", str(denied)
        cut = f"; the header promises {promised} bytes, the file has {size}" if promised is not None and promised > size else ""
        return "not_openable", words + cut
    decoded = decodable_frames(path)
    return "truncated", shortfall(path, decoded) or f"decoding fails after {decoded} samples"


def _examine_clip(clip: ClipBorders, waveform: np.ndarray, rate: int) -> Observation:
    duration_s = waveform.shape[1] / rate
    seen = Observation(clip.row, sample_rate=rate, duration_s=duration_s)
    if clip.start_s < 0 or (clip.end_s is not None and clip.end_s <= clip.start_s):
        end = "" if clip.end_s is None else f" and ends at {clip.end_s:g} s"
        seen.faults.append(("wrong_borders", f"the clip starts at {clip.start_s:g} s{end}"))
        return seen
    start = round(clip.start_s * rate)
    end = waveform.shape[1] if clip.end_s is None else min(round(clip.end_s * rate), waveform.shape[1])
    if start >= end:
        seen.faults.append(("no_samples", f"the clip starts at {clip.start_s:g} s, the recording ends at {duration_s:g} s"))
        return seen
    if clip.end_s is not None and clip.end_s > duration_s + END_TOLERANCE_S:
        seen.faults.append(("out_of_range", f"the clip ends at {clip.end_s:g} s, the recording at {duration_s:g} s"))
        seen.end_s = duration_s
    samples = np.ascontiguousarray(waveform[:, start:end])
    seen.faults += _quality_faults(samples, rate)
    seen.digest = hashlib.sha256(f"{rate} {len(samples)} ".encode() + samples.tobytes()).hexdigest()
    return seen


def _quality_faults(samples: np.ndarray, rate: int) -> list[tuple[str, str]]:
    """Clipping and NaN are judged in each channel, since the mix hides them; silence and length in the mix, which is trained on."""
    channels = torch.from_numpy(samples)
    length = samples.shape[1]
    each = quality_flags(channels, torch.full((len(samples),), length), rate).tolist()
    flags = each[0]
    if len(samples) > 1:
        mix = torch.from_numpy(to_mono(samples)).unsqueeze(0)
        flags = int(quality_flags(mix, torch.tensor([length]), rate)) & ~(CLIPPED | NOT_FINITE)
        for channel in each:
            flags |= channel & (CLIPPED | NOT_FINITE)
    details = {
        "silent": lambda: f"no sample exceeds {_decibel(samples):.0f} dB of full scale" if samples.any() else "every sample is 0",
        "clipped": lambda: f"{_share_at_extremes(samples):.2%} of the samples lie at the extremes",
        "too_short": lambda: f"{length / rate:.3f} s",
        "not_finite": lambda: f"{np.count_nonzero(~np.isfinite(samples))} of {samples.size} samples",
        "constant": lambda: f"stays at {samples.flat[0]:g}",
    }
    return [(name, details[name]()) for bit, name in FLAG_NAMES.items() if flags & bit]


def _decibel(samples: np.ndarray) -> float:
    return 20 * math.log10(float(np.abs(samples).max()))


def _share_at_extremes(samples: np.ndarray) -> float:
    """Share of samples equal to their channel's highest or lowest value, in the channel where it is largest."""
    high, low = samples.max(axis=1, keepdims=True), samples.min(axis=1, keepdims=True)
    return float(((samples == high) | (samples == low)).mean(axis=1).max())

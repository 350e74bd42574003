"""Plant the faults of a real folder into a made one, so that the audit can be tried and tested on each."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from scipy.io import wavfile

from common.files import write_csv
from common.synthetic.takehome import write_pcm16

Writer = Callable[[Path, np.ndarray, int], object]


def plant_dirt(folder: str | Path) -> dict[str, str]:
    """Add faulty files and rows to a folder that `write_takehome` wrote.

    Every fault gets a new file made from a clip played backwards, so that no file has two faults; only the copies, the
    repeated row and the file whose labels are disputed share samples with a clip that was there.

    Args:
        folder: holds ``train/`` and ``train.csv`` with at least 4 clips; both are changed.

    Returns:
        File name -> the reason code that the audit must give it.
    """
    folder = Path(folder)
    train = folder / "train"
    table = pd.read_csv(folder / "train.csv", dtype={"patient": str})
    clips = len(table)
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    faults: dict[str, str] = {}

    def new_file(reason: str, write: Writer | None, listed: bool = True, **labels: int) -> None:
        name = f"{clips + len(faults):04d}.wav"
        source = rows[len(faults) % clips]
        if write is not None:
            waveform, sample_rate = soundfile.read(train / source["filename"], dtype="float32")
            write(train / name, np.ascontiguousarray(waveform[::-1]), sample_rate)
        if listed:
            rows.append({**source, "filename": name, **labels})
        faults[name] = reason

    for reason, write in WRITERS:
        new_file(reason, write)
    new_file("missing_file", None)
    new_file("unlisted_file", write_pcm16, listed=False)
    new_file("label_rule", write_pcm16, normal=1, wheeze=1)

    copy = f"{clips + len(faults):04d}.wav"
    shutil.copyfile(train / rows[0]["filename"], train / copy)
    rows.append({**rows[0], "filename": copy})
    faults[copy] = "duplicate"

    disputed = f"{clips + len(faults):04d}.wav"
    shutil.copyfile(train / rows[1]["filename"], train / disputed)
    other = {"normal": 0, "wheeze": 1 - rows[1]["wheeze"], "crackle": 1}
    rows.append({**rows[1], "filename": disputed, **other})
    faults[disputed] = faults[rows[1]["filename"]] = "duplicate_conflict"

    rows.append(rows[2])
    faults[rows[2]["filename"]] = "repeated_row"
    write_csv(folder / "train.csv", pd.DataFrame(rows))
    return faults


def _wav_header(promised_bytes: int, sample_rate: int) -> bytes:
    """The 44 bytes before 16-bit mono samples, promising ``promised_bytes`` of them."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + promised_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", promised_bytes)


def _truncated(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    write_pcm16(path, waveform, sample_rate)
    with path.open("r+b") as file:
        # An odd number of bytes: the cut falls inside a sample, as a broken download's does.
        file.truncate(44 + len(waveform) // 2 + 1 - len(waveform) // 2 % 2)


def _not_finite(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    broken = waveform.copy()
    broken[len(broken) // 2] = np.nan
    # Not by soundfile: libsndfile writes the second of the writing into a file of floats, and the same seed would give other bytes.
    wavfile.write(path, sample_rate, broken.astype(np.float32))


def _clipped(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    # Overdriven by 12 dB, then turned down: clipping is a flat top, at whatever level.
    peak = np.abs(waveform).max()
    write_pcm16(path, 0.6 * np.clip(4 * waveform / peak, -1, 1), sample_rate)


WRITERS: tuple[tuple[str, Writer], ...] = (
    ("empty_file", lambda path, waveform, rate: path.write_bytes(b"")),
    ("not_openable", lambda path, waveform, rate: path.write_bytes(_wav_header(2 * len(waveform), rate)[:8])),
    ("not_openable", lambda path, waveform, rate: path.write_bytes(_wav_header(2 * len(waveform), rate)[:30])),
    ("not_openable", lambda path, waveform, rate: path.write_text("this is not audio\n" * 40)),
    ("no_samples", lambda path, waveform, rate: path.write_bytes(_wav_header(2 * len(waveform), rate))),
    ("no_samples", lambda path, waveform, rate: path.write_bytes(_wav_header(0, rate))),
    ("truncated", _truncated),
    ("silent", lambda path, waveform, rate: write_pcm16(path, np.zeros_like(waveform), rate)),
    ("constant", lambda path, waveform, rate: write_pcm16(path, np.full_like(waveform, 0.25), rate)),
    ("clipped", _clipped),
    ("not_finite", _not_finite),
    ("too_short", lambda path, waveform, rate: write_pcm16(path, waveform[: rate // 20], rate)),
)

"""Read recordings through soundfile: WAV of any depth, FLAC, OGG, at any rate and channel count."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from common.errors import UserError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga")


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself.

    Attributes:
        sample_rate: Hz.
        channels: number of channels.
        frames: samples per channel that the header promises.
        encoding: soundfile's subtype, for example PCM_16.
    """

    sample_rate: int
    channels: int
    frames: int
    encoding: str

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate


def read_header(path: str | Path) -> AudioHeader:
    """Read a file's header without decoding it.

    Raises:
        UserError: the file is missing or is not audio that soundfile opens.
    """
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(_cannot_open(path, error)) from error
    return AudioHeader(info.samplerate, info.channels, info.frames, info.subtype)


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Decode a whole file.

    Returns:
        waveform: float32 [channels, T]; integer encodings are scaled to [-1, 1), floats are as they are.
        sample_rate: Hz.

    Raises:
        UserError: the file is missing or is not audio that soundfile opens.
    """
    try:
        waveform, sample_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(_cannot_open(path, error)) from error
    return np.ascontiguousarray(waveform.T), sample_rate


def to_mono(waveform: np.ndarray) -> np.ndarray:
    """Average the channels: [channels, T] -> [T]."""
    return waveform[0] if len(waveform) == 1 else waveform.mean(axis=0)


def _cannot_open(path: str | Path, error: Exception) -> str:
    if not Path(path).is_file():
        return f"No file at {path}: check the path."
    reason = str(error).split(": ", 1)[-1].rstrip(".")
    return f"{path} does not open as audio ({reason}): expected WAV, FLAC or OGG."

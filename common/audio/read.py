"""Read recordings through soundfile: WAV of any depth, FLAC, OGG, at any rate and channel count."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from common.errors import UserError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga")
# What libsndfile gives for the number of frames when a header leaves it open.
UNKNOWN_FRAMES = 2**63 - 1
BLOCK_FRAMES = 2**20


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself.

    Attributes:
        sample_rate: Hz.
        channels: number of channels.
        frames: samples per channel that the header promises; None where it leaves them open, as that of a streamed FLAC does.
        encoding: soundfile's subtype, for example PCM_16.
    """

    sample_rate: int
    channels: int
    frames: int | None
    encoding: str

    @property
    def duration_s(self) -> float | None:
        """Duration that the header promises, s; None where it leaves it open."""
        return None if self.frames is None else self.frames / self.sample_rate


def read_header(path: str | Path) -> AudioHeader:
    """Read a file's header without decoding it.

    Raises:
        UserError: the file is missing or is not audio that soundfile opens.
    """
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(_cannot_open(path, error)) from error
    frames = None if info.frames >= UNKNOWN_FRAMES else info.frames
    return AudioHeader(info.samplerate, info.channels, frames, info.subtype)


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Decode a whole file.

    Returns:
        waveform: float32 [channels, T]; integer encodings are scaled to [-1, 1), floats are as they are.
        sample_rate: Hz.

    Raises:
        UserError: the file is missing or is not audio that soundfile opens.
    """
    try:
        with _Sequential(str(path)) as file:
            blocks = list(_blocks(file, BLOCK_FRAMES))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(_cannot_open(path, error)) from error
    waveform = blocks[0] if len(blocks) == 1 else np.concatenate([*blocks, np.empty((0, file.channels), np.float32)])
    return np.ascontiguousarray(waveform.T), file.samplerate


def read_blocks(path: str | Path, frames: int = BLOCK_FRAMES) -> Iterator[tuple[np.ndarray, int]]:
    """Decode a file piece by piece, so that its length costs no memory.

    Yields:
        waveform: float32 [channels, up to ``frames``], as `read_audio`; nothing for a file without samples.
        sample_rate: Hz.

    Raises:
        UserError: the file is missing, or is not audio that soundfile decodes to its end.
    """
    try:
        with _Sequential(str(path)) as file:
            for block in _blocks(file, frames):
                yield np.ascontiguousarray(block.T), file.samplerate
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(_cannot_open(path, error)) from error


def decodable_frames(path: str | Path) -> int:
    """How many samples per channel can be decoded before the decoder fails, to within 1024."""
    frames = 0
    try:
        with _Sequential(str(path)) as file:
            for block in _blocks(file, 1024):
                frames += len(block)
    except soundfile.LibsndfileError:
        pass
    return frames


def to_mono(waveform: np.ndarray) -> np.ndarray:
    """Average the channels: [channels, T] -> [T]."""
    return waveform[0] if len(waveform) == 1 else waveform.mean(axis=0)


class _Sequential(soundfile.SoundFile):
    """A file that is read from its start to its end, by what is in it and not by the length that its header gives.

    soundfile trusts that length for the memory it takes, and seeks after every read, which fails in a FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


def _blocks(file: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    """Decode in order: float32 [up to ``frames``, channels] each."""
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block


def _cannot_open(path: str | Path, error: Exception) -> str:
    if not Path(path).is_file():
        return f"No file at {path}: check the path."
    return f"{path} does not open as audio ({decoder_words(error)}): expected WAV, FLAC or OGG."


def decoder_words(error: Exception) -> str:
    """What libsndfile says in ``error``, without the file's name before it."""
    return str(error).split(": ", 1)[-1].removeprefix("Error : ").rstrip(".")

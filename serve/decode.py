"""Bytes of a recording to one waveform, within limits that are checked before memory is taken. Runs in a process of its own."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from serve.errors import Refusal
from serve.noise import is_steady_noise

# Of WAV (also big-endian, and beyond 4 GiB), FLAC and OGG. libsndfile knows twenty more formats, which nobody sends and anyone may attack.
MARKS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS")
# What libsndfile gives for the number of frames when a header leaves it open.
UNKNOWN_FRAMES = 2**63 - 1
BLOCK_SAMPLES = 2**18


@dataclass(frozen=True)
class DecodeLimits:
    """What a recording may be at most; as in `serve.settings.Settings`."""

    max_seconds: float
    max_channels: int
    max_rate_hz: int


@dataclass(frozen=True)
class Decoded:
    """A recording.

    Attributes:
        waveform: float32 [T], the channels averaged; integer encodings are scaled to [-1, 1), floats are as they are.
        sample_rate: Hz.
        channels: that it had.
        steady_noise: whether it holds nothing but noise, see `serve.noise`.
    """

    waveform: np.ndarray
    sample_rate: int
    channels: int
    steady_noise: bool


def decode(content: bytes, limits: DecodeLimits) -> Decoded:
    """Decode a WAV, FLAC or OGG file.

    Raises:
        Refusal: it is no such file, is beyond ``limits``, or holds no samples.
    """
    if not content.startswith(MARKS):
        raise Refusal("not_audio", "The recording does not begin as WAV, FLAC or OGG does.")
    try:
        with _Sequential(io.BytesIO(content)) as file:
            _check(file, limits)
            waveform = _mono(file, limits)
            sample_rate, channels = file.samplerate, file.channels
    except (soundfile.SoundFileError, OSError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise Refusal("not_audio", f"The recording does not open as audio ({_words(error)}): expected WAV, FLAC or OGG.") from error
    if not len(waveform):
        raise Refusal("no_samples", "The recording holds no samples.")
    return Decoded(waveform, sample_rate, channels, is_steady_noise(waveform, sample_rate))


class _Sequential(soundfile.SoundFile):
    """A file that is read from its start to its end, by what is in it and not by the length that its header gives.

    soundfile trusts that length for the memory it takes, and seeks after every read, which fails in a FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


def _check(file: soundfile.SoundFile, limits: DecodeLimits) -> None:
    if not 1 <= file.samplerate <= limits.max_rate_hz:
        raise Refusal("unsupported_rate", f"The recording has {file.samplerate} Hz, expected 1 to {limits.max_rate_hz}.")
    if not 1 <= file.channels <= limits.max_channels:
        raise Refusal("too_many_channels", f"The recording has {file.channels} channels, expected 1 to {limits.max_channels}.")
    if file.frames < UNKNOWN_FRAMES and file.frames > limits.max_seconds * file.samplerate:
        promised = file.frames / file.samplerate
        raise Refusal("too_long", f"The recording's header promises {promised:.1f} s, expected at most {limits.max_seconds:g} s.")


def _mono(file: soundfile.SoundFile, limits: DecodeLimits) -> np.ndarray:
    blocks = []
    frames = 0
    for block in _blocks(file):
        frames += len(block)
        if frames > limits.max_seconds * file.samplerate:
            raise Refusal("too_long", f"The recording is longer than {limits.max_seconds:g} s, the most that is taken.")
        blocks.append(block[:, 0] if block.shape[1] == 1 else np.ascontiguousarray(block.T).mean(axis=0))
    return np.concatenate([*blocks, np.empty(0, np.float32)])


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Decode in order: float32 [frames, channels] each."""
    frames = max(BLOCK_SAMPLES // file.channels, 1)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block


def _words(error: Exception) -> str:
    """What libsndfile says, without what soundfile puts before it."""
    return str(error).split(": ", 1)[-1].removeprefix("Error : ").rstrip(".") or type(error).__name__

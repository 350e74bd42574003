"""Hostile uploads: files that lie, break off, blow up or are something else, made from a seed or mutated from recordings."""

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile

NAMES = (
    "../../etc/passwd",
    "/dev/zero",
    "C:\\x.wav",
    "a\x00b.wav",
    "%2e%2e%2f.wav",
    "x" * 400,
    "; rm -rf x",
    '"><script>.wav',
    "r\u00e9\u202egnp.wav",
    "",
)
# Magic numbers of what is no WAV, FLAC or OGG.
FOREIGN = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xfb\x90\x00",
    b"ID3\x04\x00",
    b"FORM\x00\x00\x00\x20AIFFCOMM",
    b"caff\x00\x01\x00\x00",
    b".snd\x00\x00\x00\x18",
    b"%PDF-1.7\n",
    b"\x7fELF\x02\x01\x01",
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    b"\x80\x04cos\nsystem\n",
)


@dataclass(frozen=True)
class HostileFile:
    """A file to send.

    Attributes:
        kind: of hostility, a key of `KINDS`.
        name: that the form gives to it.
        content: its bytes.
    """

    kind: str
    name: str
    content: bytes = field(repr=False)


def hostile_file(kind: str, seed: int, recordings: Sequence[bytes] = ()) -> HostileFile:
    """One file; the same one for the same arguments.

    Args:
        kind: a key of `KINDS`.
        seed: of all that is random in it.
        recordings: contents of real recordings to mutate; empty for made ones.
    """
    generator = np.random.default_rng(seed)
    whole = recordings[int(generator.integers(len(recordings)))] if len(recordings) else made_recording(generator)
    return HostileFile(kind, NAMES[int(generator.integers(len(NAMES)))], KINDS[kind](generator, whole))


def made_recording(generator: np.random.Generator) -> bytes:
    """Noise of up to a second in one of the formats that are taken."""
    rate = int(generator.choice([4000, 8000, 16000, 44100]))
    kind, subtype = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")][
        int(generator.integers(6))
    ]
    return encoded(
        0.1 * generator.standard_normal((int(rate * generator.uniform(0.1, 1.0)), int(generator.integers(1, 3)))), rate, kind, subtype
    )


def encoded(waveform: np.ndarray, rate: int, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a file from samples [T] or [T, channels]."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav_header(rate: int, channels: int, data_bytes: int, bits: int = 16, code: int = 1) -> bytes:
    """The beginning of a WAV that claims what is given; every number is cut to its field."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels & 0xFFFF, rate & 0xFFFFFFFF, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    size = struct.pack("<I", data_bytes & 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", data_bytes + 36 & 0xFFFFFFFF) + b"WAVEfmt \x10\0\0\0" + form + b"data" + size


def _truncated(generator: np.random.Generator, whole: bytes) -> bytes:
    return whole[: int(generator.integers(len(whole)))]


def _mutated(generator: np.random.Generator, whole: bytes) -> bytes:
    changed = bytearray(whole)
    for _ in range(int(generator.integers(1, 12))):
        # Half of them in the header, which is where lies do harm.
        place = int(generator.integers(min(len(changed), 64) if generator.random() < 0.5 else len(changed)))
        changed[place] = int(generator.integers(256))
    return bytes(changed)


def _spliced(generator: np.random.Generator, whole: bytes) -> bytes:
    first, second = sorted(int(generator.integers(len(whole))) for _ in range(2))
    return whole[:second] + whole[first:] if generator.random() < 0.5 else whole[:first] + generator.bytes(64) + whole[second:]


def _lying_header(generator: np.random.Generator, whole: bytes) -> bytes:
    rate = int(generator.choice([4000, 44100, 999, 44101, 2**31 - 1, 2**32 - 1]))
    bits, code = int(generator.choice([0, 1, 7, 8, 16, 24, 32, 64, 65535])), int(generator.choice([0, 1, 2, 3, 6, 7, 17, 0x55, 0xFFFE]))
    return wav_header(rate, int(generator.integers(0, 12)), int(generator.integers(2**32)), bits, code) + generator.bytes(
        int(generator.integers(4000))
    )


def _huge_declared(generator: np.random.Generator, whole: bytes) -> bytes:
    if generator.random() < 0.5:
        return wav_header(4000, 1, int(generator.choice([2**31 - 1, 2**32 - 1, 2**32 - 37]))) + generator.bytes(2000)
    flac = encoded(np.zeros(4000), 4000, "FLAC")
    kept = int.from_bytes(flac[18:26], "big") & ~(2**36 - 1)
    # The 36 bits of STREAMINFO's number of samples (RFC 9639, section 8.2).
    return flac[:18] + (kept | 2**36 - 1).to_bytes(8, "big") + flac[26:]


def _foreign(generator: np.random.Generator, whole: bytes) -> bytes:
    return FOREIGN[int(generator.integers(len(FOREIGN)))] + generator.bytes(int(generator.integers(1000)))


def _archive(generator: np.random.Generator, whole: bytes) -> bytes:
    if generator.random() < 0.5:
        return zlib.compress(bytes(10_000_000), 9)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../x.wav", bytes(1_000_000))
    # A zip is read from its end, so that it may begin as something else.
    return (whole if generator.random() < 0.5 else b"") + file.getvalue()


def _flac_bomb(generator: np.random.Generator, whole: bytes) -> bytes:
    """Some kilobytes that decode to minutes of silence in several channels; the header admits it, or leaves it open."""
    bomb = _silence(int(generator.choice([1, 8])))
    if generator.random() < 0.5:
        return bomb
    kept = int.from_bytes(bomb[18:26], "big") & ~(2**36 - 1)
    return bomb[:18] + kept.to_bytes(8, "big") + bomb[26:]


@functools.cache
def _silence(channels: int) -> bytes:
    return encoded(np.zeros((4000 * 700, channels), np.int16), 4000, "FLAC")


def _not_finite(generator: np.random.Generator, whole: bytes) -> bytes:
    waveform = 0.1 * generator.standard_normal(4000)
    waveform[generator.integers(4000, size=int(generator.integers(1, 4000)))] = generator.choice([np.nan, np.inf, -np.inf, 1e38, -3e38])
    return encoded(waveform, 4000, "WAV", "FLOAT")


def _zero_rate(generator: np.random.Generator, whole: bytes) -> bytes:
    return wav_header(0, 1, 8000) + bytes(8000)


def _many_channels(generator: np.random.Generator, whole: bytes) -> bytes:
    channels = int(generator.choice([9, 255, 1000, 1024, 65535]))
    return wav_header(4000, channels, channels * 200) + bytes(channels * 200)


def _random(generator: np.random.Generator, whole: bytes) -> bytes:
    start = (b"", b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", whole[:44])[int(generator.integers(7))]
    return start + generator.bytes(int(generator.integers(3000)))


def _tiny(generator: np.random.Generator, whole: bytes) -> bytes:
    return encoded(np.zeros(int(generator.integers(0, 500))), 4000)


KINDS: dict[str, Callable[[np.random.Generator, bytes], bytes]] = {
    "truncated": _truncated,
    "mutated": _mutated,
    "spliced": _spliced,
    "lying_header": _lying_header,
    "huge_declared": _huge_declared,
    "foreign": _foreign,
    "archive": _archive,
    "flac_bomb": _flac_bomb,
    "not_finite": _not_finite,
    "zero_rate": _zero_rate,
    "many_channels": _many_channels,
    "random": _random,
    "tiny": _tiny,
}

"""What a file's container promises, read from its bytes: every audio reader hides that a file is shorter than its header says.

WAV (RIFF, RIFX, RF64, BW64) states the size of its data, FLAC the number of samples, and the last page of OGG is marked.
"""

import struct
from pathlib import Path
from typing import BinaryIO

# A WAV written to a pipe cannot know its size: writers then leave 0xFFFFFFFF, or from 0x7FFFF000 up, which no recording reaches.
STREAMED_FROM = 0x7FFFF000
MAX_OGG_PAGE = 27 + 255 + 255 * 255


def shortfall(path: Path, decoded_frames: int) -> str | None:
    """Say by how much a file is shorter than it promises; None when it is whole, or promises nothing.

    Args:
        path: an audio file.
        decoded_frames: samples per channel that were decoded from it.
    """
    with path.open("rb") as file:
        mark = file.read(4)
        if mark in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return _wav_shortfall(file, path.stat().st_size, ">" if mark == b"RIFX" else "<")
        if mark == b"fLaC":
            return _flac_shortfall(file, decoded_frames)
        if mark == b"OggS":
            return _ogg_shortfall(file, path.stat().st_size)
    return None


def promised_bytes(path: Path) -> int | None:
    """Size that a WAV file's first 8 bytes promise for the whole file; None when it is not WAV, or streamed."""
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or head[:4] not in (b"RIFF", b"RIFX"):
        return None
    (size,) = struct.unpack(("<" if head[:4] == b"RIFF" else ">") + "I", head[4:])
    return None if size >= STREAMED_FROM else size + 8


def _wav_shortfall(file: BinaryIO, file_size: int, order: str) -> str | None:
    frame_bytes, data_64 = 1, None
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        at = file.tell()
        if name == b"fmt " and len(form := file.read(16)) == 16:
            frame_bytes = max(struct.unpack(f"{order}HHIIHH", form)[4], 1)
        elif name == b"ds64" and len(sizes := file.read(16)) == 16:
            data_64 = struct.unpack(f"{order}QQ", sizes)[1]
        elif name == b"data":
            if data_64 is not None and size == 0xFFFFFFFF:
                size = data_64
            elif size >= STREAMED_FROM:
                return None
            there = max(min(size, file_size - at), 0)
            # Whole frames are compared: a size that is no multiple of a frame is a writer's slip that costs no sample.
            if there // frame_bytes < size // frame_bytes:
                return f"the header promises {size} bytes of samples, the file holds {there}"
            return None
        # Chunks begin at even positions.
        file.seek(at + size + size % 2)
    return None


def _flac_shortfall(file: BinaryIO, decoded_frames: int) -> str | None:
    # STREAMINFO comes first: 4 bytes of block header, 10 of block and frame sizes, 20 + 3 + 5 bits of rate, channels, depth, and
    # 36 bits of samples (RFC 9639, section 8.2); 0 is unknown.
    info = file.read(4 + 18)
    if len(info) < 22:
        return None
    samples = int.from_bytes(info[14:22], "big") & (2**36 - 1)
    if samples and decoded_frames < samples:
        return f"the header promises {samples} samples, {decoded_frames} can be decoded"
    return None


def _ogg_shortfall(file: BinaryIO, file_size: int) -> str | None:
    file.seek(max(file_size - 2 * MAX_OGG_PAGE, 0))
    tail = file.read()
    last = tail.rfind(b"OggS")
    # Bit 2 of a page header's type marks the last page of a stream (RFC 3533, section 6).
    if last >= 0 and len(tail) > last + 5 and not tail[last + 5] & 4:
        return "the page that ends the stream is missing"
    return None

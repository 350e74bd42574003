"""A file is truncated exactly when it holds less than its container promises."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audit.container import shortfall

RATE = 4000


def pcm16(frames: int, data_size: int | None = None, riff_size: int | None = None, order: str = "<", before: bytes = b"") -> bytes:
    """A 16-bit mono WAV of ``frames`` samples whose header may promise something else."""
    data = b"\1\2" * frames
    head = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16) + before
    size = len(data) if data_size is None else data_size
    whole = 4 + len(head) + 8 + len(data) if riff_size is None else riff_size
    mark = b"RIFF" if order == "<" else b"RIFX"
    return struct.pack(f"{order}4sI4s", mark, whole, b"WAVE") + head + struct.pack(f"{order}4sI", b"data", size) + data


@settings(max_examples=80, deadline=None)
@given(
    frames=st.integers(0, 300), missing=st.integers(0, 300), slack=st.integers(0, 1), order=st.sampled_from("<>"), odd_chunk=st.booleans()
)
def test_a_wav_is_truncated_exactly_when_a_whole_sample_is_missing(
    tmp_path_factory: pytest.TempPathFactory, frames: int, missing: int, slack: int, order: str, odd_chunk: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "container.wav"
    before = struct.pack(f"{order}4sI", b"LIST", 3) + b"abc\0" if odd_chunk else b""
    path.write_bytes(pcm16(frames, 2 * (frames + missing) + slack, order=order, before=before))
    assert (shortfall(path, frames) is not None) == (missing > 0)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_a_streamed_wav_promises_nothing(size: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(pcm16(100, size, 0xFFFFFFFF))
    assert shortfall(tmp_path / "a.wav", 100) is None

"""One shard: a tar file in the WebDataset layout, ``KEY.json`` and ``KEY.npy`` for each clip.

Plain int16 in NumPy's format, not FLAC: half the bytes would cost some hundred times the work to read, and every reader of
WebDatasets opens .npy. Equal clips give equal bytes.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from common.errors import UserError
from common.files import atomic_path

BYTES_PER_SAMPLE = 2
# Of .npy with a short shape.
NPY_HEADER_BYTES = 128


class Entry(NamedTuple):
    """A clip in a shard.

    Attributes:
        about: what ``KEY.json`` says of it.
        offset: first byte of its samples in the shard.
        crc32: of the samples' bytes.
    """

    about: dict[str, Any]
    offset: int
    crc32: int


def write_tar(path: Path, clips: Iterable[tuple[str, dict[str, Any], np.ndarray]]) -> None:
    """Write a shard, whole or not at all.

    Args:
        path: file to write.
        clips: key, description (JSON-like) and int16 samples [T] of each clip; a key has no dot, where WebDataset would cut it.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, about, samples in clips:
            array = io.BytesIO()
            np.save(array, samples.astype("<i2", copy=False), allow_pickle=False)
            text = json.dumps(about, ensure_ascii=False, allow_nan=False)
            for suffix, content in (("json", text.encode("utf-8")), ("npy", array.getvalue())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def tar_bytes(num_samples: np.ndarray) -> int:
    """About how many bytes clips of ``num_samples`` int64 [n] take in shards: two heads and a description of 512 bytes, whole blocks."""
    array = NPY_HEADER_BYTES + BYTES_PER_SAMPLE * num_samples
    return int((3 * 512 + -(-array // 512) * 512).sum())


def read_tar(path: Path) -> list[Entry]:
    """Read a finished shard back: what is in it, not what was meant to be.

    Raises:
        UserError: it is damaged, or no shard.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            return [_entry(tar, about, array) for about, array in _pairs(tar)]
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The shard {path} is damaged ({str(error) or type(error).__name__}): delete it and run the same command again."
        ) from error


def _pairs(tar: tarfile.TarFile) -> Iterable[tuple[tarfile.TarInfo, tarfile.TarInfo]]:
    members = iter(tar)
    for about in members:
        array = next(members, None)
        if array is None or (Path(about.name).suffix, array.name) != (".json", f"{Path(about.name).stem}.npy"):
            raise ValueError(f"{about.name} stands alone")
        yield about, array


def _entry(tar: tarfile.TarFile, about: tarfile.TarInfo, array: tarfile.TarInfo) -> Entry:
    described = json.loads(_file(tar, about).read())
    num_bytes = described["length"] * BYTES_PER_SAMPLE
    samples = np.load(_file(tar, array), allow_pickle=False)
    if samples.dtype != "<i2" or samples.shape != (described["length"],):
        raise ValueError(f"{array.name} is not what {about.name} says")
    return Entry(described, array.offset_data + array.size - num_bytes, zlib.crc32(samples.tobytes()))


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return io.BytesIO(file.read())

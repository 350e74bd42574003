"""The files in which several workers keep their metrics, with their room taken before the first request.

prometheus_client maps them into memory, and a mapped page for which a full file system has no room ends the process that writes to it
(SIGBUS). So the room is taken by posix_fallocate, which fails in time instead. Files belong to a worker's place and not to its process: the
worker that replaces another goes on with them, so that one that ends again and again fills nothing.
"""

import os
import struct
from pathlib import Path

from prometheus_client import values

# Where it is set, as the supervisor of several workers does before they start, every process writes its numbers there.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PLACE = "SERVE_WORKER_PLACE"
COUNTERS, GAUGES, HISTOGRAMS = "counter", "gauge_livesum", "histogram"
KINDS = (COUNTERS, GAUGES, HISTOGRAMS)
# A bundle's rows take some 6 kB per label, so that half of it is enough for any.
ROOM_BYTES = 2**20
# A file begins with the number of its bytes that are used (prometheus_client.mmap_dict).
USED = struct.Struct("i")


def reserve(folder: Path, places: int) -> None:
    """Make the files of ``places`` workers.

    Raises:
        OSError: there is no room for them.
    """
    for place in range(places):
        for kind in KINDS:
            with _file(folder, kind, place).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)


def take_place(place: int) -> None:
    """Let this process write to the files of ``place``; to be called before it has any metric."""
    values.ValueClass = values.MultiProcessValue(lambda: place)


def forget_gauges(folder: Path, place: int) -> None:
    """Empty the gauges of a worker that ended; what it counted stays, and so does the room."""
    with _file(folder, GAUGES, place).open("r+b") as file:
        file.write(bytes(USED.size))


def make_room(folder: Path, place: int) -> None:
    """Take room for as many rows as there are, where files are more than half full.

    Raises:
        OSError: there is none.
    """
    for kind in KINDS:
        with _file(folder, kind, place).open("r+b") as file:
            (used,) = USED.unpack(file.read(USED.size))
            size = os.fstat(file.fileno()).st_size
            if used > size // 2:
                # prometheus_client doubles a file that is full, and finds it doubled.
                os.posix_fallocate(file.fileno(), 0, 2 * size)


def _file(folder: Path, kind: str, place: int) -> Path:
    return folder / f"{kind}_{place}.db"

"""Where each recording lies in the flat file of a store, and how the file that it came from looked when it was read."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import atomic_path, sha256_text
from common.store.decode import SETTINGS

AUDIO_NAME = "audio.i16"
INDEX_NAME = "index.parquet"
BYTES_PER_SAMPLE = 2
# A file changed twice within its clock's tick looks unchanged; a file this young when it was read is hashed again next time.
YOUNG_NS = 2_000_000_000


class Recording(NamedTuple):
    """A recording in the store.

    Attributes:
        signature: of the source file when it was read, see `signature`; empty where it must not be trusted.
        content: SHA-256 of the source file's bytes.
        start: first sample in the flat file.
        length: number of samples.
        scale: what one step of a sample is worth.
    """

    signature: str
    content: str
    start: int
    length: int
    scale: float


class Index(dict[str, Recording]):
    """Absolute path of a source file -> where its samples lie. Read and written as one Parquet table."""

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Read the index of the store in ``folder``; empty where none was committed.

        Raises:
            UserError: the index or the flat file is damaged.
        """
        path = folder / INDEX_NAME
        if not path.is_file():
            return cls()
        try:
            # By one handle: given a path, pandas opens it twice, and a builder may have replaced the file in between.
            with path.open("rb") as file:
                table = pd.read_parquet(file, columns=["path", *Recording._fields])
            columns = [table[name].tolist() for name in Recording._fields]
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(path, "does not open") from error
        index = cls(zip(table["path"], map(Recording, *columns), strict=True))
        audio = folder / AUDIO_NAME
        if not audio.is_file() or audio.stat().st_size < index.num_samples * BYTES_PER_SAMPLE:
            raise _damaged(audio, "is shorter than its index says")
        return index

    def save(self, folder: Path) -> None:
        """Replace the index in ``folder``: the moment at which new recordings become visible."""
        table = pd.DataFrame(list(self.values()), columns=list(Recording._fields))
        table.insert(0, "path", list(self))
        table["scale"] = table["scale"].astype(np.float32)
        with atomic_path(folder / INDEX_NAME) as temporary:
            table.to_parquet(temporary, index=False)

    @property
    def num_samples(self) -> int:
        """Samples of the flat file up to the end of the last recording; an interrupted build may have left more behind it."""
        return max((recording.start + recording.length for recording in self.values()), default=0)

    def unknown(self, paths: Iterable[str]) -> list[str]:
        """Those of ``paths`` that are not in the index, or whose file may have changed since it was read.

        Raises:
            UserError: a file does not exist.
        """
        return [path for path in paths if path not in self or self[path].signature != signature(path)]


def absolute_paths(table: pd.DataFrame) -> list[str]:
    """The recordings' files of a manifest, one per row, as the index names them."""
    return [str(Path(path).absolute()) for path in table["path"]]


def signature(path: str) -> str:
    """What changes when a file is written or replaced, without reading it: size, times of modification and change, inode.

    The change time cannot be set back by a program, so a file of equal size and modification time put in its place is noticed.
    """
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise UserError(
            f"No recording at {path} ({error.strerror}): check the path, or clean the manifest with 'python -m common audit'."
        ) from error
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def is_young(path: str) -> bool:
    """Whether a file changed so recently that another change could hide behind the same `signature`."""
    return time.time_ns() - Path(path).stat().st_ctime_ns < YOUNG_NS


def store_beside(manifest: str | Path, store: str | Path | None = None) -> Path:
    """Folder of the waveform store: the one that is named, else ``store`` beside the manifest."""
    return Path(store) if store else Path(manifest).parent / "store"


def store_folder(folder: str | Path, sample_rate: int) -> Path:
    """Where in ``folder`` the store of one sample rate (Hz) lives; other decoder settings have another place."""
    return Path(folder) / f"{sample_rate}hz-{sha256_text(SETTINGS)[:8]}"


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"The waveform store's file {path} {what}: delete the folder {path.parent}, it will be built again.")

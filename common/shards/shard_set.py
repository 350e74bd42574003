"""Open a folder of shards wherever it is, and read clips from it."""

import hashlib
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import sha256_text
from common.shards.address import file_at, open_at, read_at
from common.shards.format import FORMAT, INDEX
from common.shards.tar import BYTES_PER_SAMPLE

COPY_AGAIN = "copy the folder again from where 'python -m common shard' wrote it"


@dataclass(frozen=True)
class ShardReader:
    """Where the samples of clips lie, in arrays alone, so that worker processes take little along.

    Attributes:
        address: folder or URL.
        names: of the shards.
        shard: which of them holds each clip, int32 [n], rising.
        offset: first byte of each clip's samples there, int64 [n], rising within a shard.
        length: samples of each clip, int64 [n].
        scale: what one step of a sample is worth, float32 [n].
        crc32: of the samples' bytes, uint32 [n].
    """

    address: str
    names: list[str]
    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    scale: np.ndarray
    crc32: np.ndarray

    def read(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the samples of clips, int16 [T] each, one by one.

        Args:
            rows: int64 [m]; a shard is opened once for each stretch of clips that lie in it, and read best from start to end.

        Raises:
            UserError: a shard is missing, cannot be reached or is damaged.
        """
        for number, run in itertools.groupby(rows.tolist(), key=lambda row: int(self.shard[row])):
            name = self.names[number]
            try:
                with open_at(self.address, name) as file:
                    for row in run:
                        yield self._read_clip(file, name, row)
            except OSError as error:
                raise UserError(
                    f"The shard {file_at(self.address, name)} cannot be read ({error.strerror or error}): "
                    f"check that it can be reached, or {COPY_AGAIN}."
                ) from error

    def _read_clip(self, file: Any, name: str, row: int) -> np.ndarray:
        num_bytes = int(self.length[row]) * BYTES_PER_SAMPLE
        file.seek(int(self.offset[row]))
        content = file.read(num_bytes)
        if len(content) < num_bytes:
            end = self.offset[row] + num_bytes
            raise UserError(f"The shard {file_at(self.address, name)} ends before its byte {end}: {COPY_AGAIN}.")
        if zlib.crc32(content) != self.crc32[row]:
            raise UserError(
                f"The shard {file_at(self.address, name)} is damaged behind its byte {self.offset[row]} (wrong checksum): {COPY_AGAIN}."
            )
        return np.frombuffer(content, dtype="<i2")


@dataclass(frozen=True)
class ShardSet:
    """A folder of shards.

    Attributes:
        table: one row per clip in the order of the shards, index 0 to n-1, with the manifest's columns but path and labels.
        reader: reads the clips, by row of ``table``.
        sample_rate: of the samples, Hz.
        content: SHA-256 by which the shards are known again, wherever they are.
    """

    table: pd.DataFrame
    reader: ShardReader
    sample_rate: int
    content: str

    @classmethod
    def open(cls, address: str) -> "ShardSet":
        """Read the index and the table of clips.

        Args:
            address: folder or URL, see `common.shards.address.open_at`.

        Raises:
            UserError: there are no shards, they are not finished, damaged or of another format.
        """
        index, content = _read_index(address)
        table = _read_table(address, index)
        columns = [table.pop(name).to_numpy() for name in ("shard", "offset", "length", "scale", "crc32")]
        return cls(table, ShardReader(address, [shard["name"] for shard in index["shards"]], *columns), index["sample_rate"], content)

    def reader_at(self, sample_rate: int) -> ShardReader:
        """The reader, for a front end that takes samples at ``sample_rate`` (Hz); refused where the shards hold others."""
        if sample_rate != self.sample_rate:
            raise UserError(
                f"The shards in {self.reader.address} hold samples at {self.sample_rate} Hz, but the front end takes {sample_rate} Hz: "
                f"write others with 'python -m common shard --sample-rate {sample_rate}', or set the front end's sample_rate."
            )
        return self.reader


def _read_index(address: str) -> tuple[dict[str, Any], str]:
    place = file_at(address, INDEX)
    try:
        text = read_at(address, INDEX).decode("utf-8")
        index = json.loads(text)
    except FileNotFoundError as error:
        raise UserError(
            f"No shards at {address}: expected {INDEX} there, which 'python -m common shard' writes when all shards are done."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{place} cannot be read ({error}): check the address, or {COPY_AGAIN}.") from error
    found = index.get("format") if isinstance(index, dict) else None
    if found != FORMAT:
        raise UserError(f"{place} has the format {found!r}, expected {FORMAT!r}: it is no index of shards, or of another version's.")
    return index, sha256_text(text)


def _read_table(address: str, index: dict[str, Any]) -> pd.DataFrame:
    name = index["table"]["name"]
    place = file_at(address, name)
    try:
        content = read_at(address, name)
    except OSError as error:
        raise UserError(f"{place} cannot be read ({error.strerror or error}): {COPY_AGAIN}.") from error
    if hashlib.sha256(content).hexdigest() != index["table"]["sha256"]:
        raise UserError(f"{place} is damaged or belongs to other shards than {INDEX} beside it: {COPY_AGAIN}.")
    return pd.read_parquet(io.BytesIO(content))

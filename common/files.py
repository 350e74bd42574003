"""Write files whole or not at all, and name files by their content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import UserError

# What stands for "no value" in a column that is not text.
NO_VALUE = ("", "NA", "N/A", "<NA>", "NaN", "nan", "None", "null")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` when the block ends without an error.

    A reader therefore sees the old file or the whole new one, also after a kill. On an error the temporary file is removed.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files that only their owner can read; a result should be as readable as any other file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}): choose a place that can be written and has room.") from error


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; it takes the place of ``path`` when the block ends without an error.

    A folder that is there is replaced as a whole: between two renames there is none, and never half of one. On an error the old one
    stays as it was.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            temporary, retired = Path(beside) / "new", Path(beside) / "old"
            temporary.mkdir()
            yield temporary
            if path.exists():
                path.rename(retired)
            try:
                temporary.rename(path)
            except OSError:
                if retired.exists():
                    retired.rename(path)
                raise
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}): choose a place that can be written and has room.") from error


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON atomically. NaN is refused (it is not JSON): write None for a missing number."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: str | Path, table: pd.DataFrame, header: bool = True) -> None:
    """Write ``table`` without its index, and on request without its header, as CSV atomically; floats keep all digits."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, header=header)


def read_csv(path: str | Path, text: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Read a table that the user names.

    Args:
        path: CSV file; a BOM is accepted.
        text: columns, where they are there, whose values stay as they are written: 001 is not 1, and a patient called NA is one.
        options: passed to ``pandas.read_csv``.

    Raises:
        UserError: no such file, or not a table.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No table at {path}: expected a CSV file there; check the path.")
    try:
        if text:
            columns = pd.read_csv(path, encoding="utf-8-sig", nrows=0).columns
            no_value = {name: NO_VALUE for name in columns if name not in text}
            options |= {"dtype": dict.fromkeys(text, str), "keep_default_na": False, "na_values": no_value}
        return pd.read_csv(path, encoding="utf-8-sig", **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path} is not a table that can be read ({reason}); expected a UTF-8 CSV with a header row.") from error


def refuse_a_full_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to write ``needed`` bytes more for ``what`` into ``folder``, which exists, where its disk has less room."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} in {folder} needs {needed / 1e9:.2f} GB more, but its disk has {free / 1e9:.2f} GB free: "
            "make space, lower the sample rate, or choose another disk."
        )


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

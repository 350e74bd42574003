"""Files of a folder, of a web server or of object storage, by one address."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.shards.http_file import HttpFile

# Object storage is asked for so many bytes at a time.
BLOCK_BYTES = 4 * 2**20


def file_at(address: str, name: str) -> str:
    """The address of the file ``name`` under ``address``."""
    return f"{address.rstrip('/')}/{name}"


def open_at(address: str, name: str) -> AbstractContextManager[Any]:
    """Open a file to be read in order: an object with ``seek(position)`` and ``read(size)``, to be used in a ``with``.

    Args:
        address: a folder, ``http://`` or ``https://``, or what fsspec knows: ``s3://``, ``gs://``, ``az://``, ``memory://``.
        name: of a file there.

    Raises:
        FileNotFoundError: there is no such file (on a web server when it is read).
        OSError: it cannot be read.
        UserError: the kind of address is not known, or needs a package that is not installed.
    """
    scheme, remote, _ = address.partition("://")
    if not remote:
        return (Path(address) / name).open("rb")
    if scheme in ("http", "https"):
        return HttpFile(file_at(address, name))
    return _open_in_object_storage(file_at(address, name))


def read_at(address: str, name: str) -> bytes:
    """All bytes of a file; raises as `open_at` does."""
    with open_at(address, name) as file:
        return file.read()


def _open_in_object_storage(url: str) -> AbstractContextManager[Any]:
    # Imported here: it is another package for each kind of storage that is needed, and takes a second.
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{url} cannot be opened ({error}): install the package that reads it (s3fs, gcsfs, adlfs), or correct it."
        ) from error
    try:
        return system.open(path, "rb", block_size=BLOCK_BYTES)
    except OSError:
        raise
    except Exception as error:
        # Each storage's client has exceptions of its own, for missing credentials for example.
        raise OSError(str(error)) from error

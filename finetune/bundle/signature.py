"""An optional signature of a bundle: HMAC-SHA256 (RFC 2104) of model.json, which names the hashes of all other files."""

import hashlib
import hmac
from pathlib import Path

from common.errors import UserError
from common.files import write_text
from finetune.bundle.contents import DESCRIPTION, SIGNATURE

# RFC 2104, section 3: a key shorter than the hash weakens it, and one of a few bytes can be guessed.
MIN_KEY_BYTES = 32


def read_key(path: Path) -> bytes:
    """The bytes of a key's file, all of them.

    Raises:
        UserError: it is missing or too short.
    """
    if not path.is_file():
        raise UserError(f"No key at {path}: expected a file of at least {MIN_KEY_BYTES} secret bytes.")
    key = path.read_bytes()
    if len(key) < MIN_KEY_BYTES:
        raise UserError(f"The key at {path} has {len(key)} bytes, expected at least {MIN_KEY_BYTES}, drawn at random.")
    return key


def sign(folder: Path, key: bytes) -> None:
    """Write the signature of the bundle in ``folder``."""
    write_text(folder / SIGNATURE, _signature(folder, key) + "\n")


def check_signature(folder: Path, key: bytes) -> None:
    """Refuse a bundle that was not signed with ``key``.

    Raises:
        UserError: it has no signature, or another.
    """
    if not (folder / SIGNATURE).is_file():
        raise UserError(f"{folder} has no {SIGNATURE}: expected a bundle that was exported with --sign_key.")
    found = (folder / SIGNATURE).read_text(encoding="utf-8", errors="replace").strip()
    if not hmac.compare_digest(found.encode(), _signature(folder, key).encode()):
        raise UserError(f"The signature of {folder} is not one by this key: do not load it; it was changed, or signed with another key.")


def _signature(folder: Path, key: bytes) -> str:
    return hmac.new(key, (folder / DESCRIPTION).read_bytes(), hashlib.sha256).hexdigest()

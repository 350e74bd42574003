"""A bundle's folder, read and checked: what is loaded is what was hashed, byte for byte."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from serve.errors import StartError

FORMAT = "auscult.model/1"
DESCRIPTION = "model.json"
SIGNATURE = "SIGNATURE"
CARD = "MODEL_CARD.md"
MODEL_FILES = {"torch": "model.pt", "onnx": "model.onnx", "onnx-int8": "model.int8.onnx", "onnx-float16": "model.float16.onnx"}
NEEDED_KEYS = ("labels", "thresholds", "decoding", "task", "sample_rate", "flags", "files")


@dataclass(frozen=True)
class Bundle:
    """What a bundle says, and the bytes of its files that the service opens.

    Attributes:
        description: content of model.json.
        version: the first 12 hex digits of model.json's SHA-256; model.json holds the hashes of all other files.
        model: content of the model's file.
        quality: content of the ONNX file that judges recordings at any rate; None for the backend torch and for bundles without one.
        card: the model card, Markdown; empty where there is none.
        golden: content of golden/expected.json; None where the bundle has no golden clips.
        clips: file of each golden clip -> its content.
    """

    description: dict[str, Any]
    version: str
    model: bytes = field(repr=False)
    quality: bytes | None = field(repr=False)
    card: str = field(repr=False)
    golden: dict[str, Any] | None = field(repr=False)
    clips: dict[str, bytes] = field(repr=False)

    @property
    def labels(self) -> list[str]:
        return self.description["labels"]

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the model takes beside the audio: ``columns``, ``numbers``, ``vocabularies``; None where nothing."""
        return self.description.get("metadata")

    @property
    def frames(self) -> dict[str, Any] | None:
        """The events that the model tells frame by frame: ``labels``, ``thresholds``, ``frame_s``; None where it tells none."""
        return self.description.get("frames")


def read_bundle(folder: Path, backend: str, sign_key: Path | None = None) -> Bundle:
    """Read a bundle; every file that the service opens is checked against its hash first, and nothing of it is run.

    Args:
        folder: of the bundle.
        backend: which model's file to read, a key of `MODEL_FILES`.
        sign_key: file with the key that the bundle must be signed with; None takes any bundle.

    Raises:
        StartError: a file is missing or is not what model.json says, or model.json is not one that this service understands.
    """
    text = _read(folder / DESCRIPTION, "expected a folder that 'python -m finetune export' wrote")
    if sign_key is not None:
        _check_signature(folder, text, sign_key)
    description = _description(folder, text)

    def checked(name: str) -> bytes:
        return _checked(folder, name, description["files"])

    name = MODEL_FILES[backend]
    about = _of_backend(description, backend)
    if name not in description["files"]:
        reason = about.get("reason")
        raise StartError(f"{folder} has no {name}{f' ({reason})' if reason else ''}: choose the other --backend.")
    quality = (description.get("onnx") or {}).get("quality")
    golden, clips = None, {}
    # A twin in fewer bits has answers of its own to the golden clips.
    expected = about.get("golden") or description.get("golden")
    if expected:
        place = PurePosixPath(expected["expected"])
        golden = json.loads(checked(str(place)))
        clips = {clip["file"]: checked(str(place.parent / clip["file"])) for clip in golden["clips"]}
    return Bundle(
        description=description,
        version=hashlib.sha256(text).hexdigest()[:12],
        model=checked(name),
        quality=None if quality is None or backend == "torch" else checked(str(quality)),
        card=checked(CARD).decode() if CARD in description["files"] else "",
        golden=golden,
        clips=clips,
    )


def _of_backend(description: dict[str, Any], backend: str) -> dict[str, Any]:
    """What model.json says of the file that a backend runs; empty where it says nothing."""
    kind, _, bits = backend.partition("-")
    return ((description.get("twins") or {}).get(bits) if bits else description.get(kind)) or {}


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"Cannot read {path} ({error.strerror}): {expected}.") from error


def _description(folder: Path, text: bytes) -> dict[str, Any]:
    try:
        description = json.loads(text)
        missing = [key for key in NEEDED_KEYS if key not in description]
        found = description.get("format")
    except (ValueError, AttributeError, RecursionError) as error:
        raise StartError(f"{folder / DESCRIPTION} is not a JSON object: export the bundle again.") from error
    if found != FORMAT:
        raise StartError(f"{folder / DESCRIPTION} has the format {found!r}, expected {FORMAT!r}: serve it with the release that wrote it.")
    if missing:
        raise StartError(f"{folder / DESCRIPTION} lacks {', '.join(missing)}: it is no bundle's; export the run to a folder.")
    return description


def _checked(folder: Path, name: str, hashes: dict[str, str]) -> bytes:
    place = PurePosixPath(name)
    if name not in hashes or place.is_absolute() or ".." in place.parts:
        raise StartError(f"{folder / DESCRIPTION} names {name!r}, which is none of its own files: export the bundle again.")
    content = _read(folder / place, f"{DESCRIPTION} names it; export the bundle again")
    if hashlib.sha256(content).hexdigest() != hashes[name]:
        raise StartError(f"{folder / place} is not the file that {DESCRIPTION} was written for (other SHA-256): export the bundle again.")
    return content


def _check_signature(folder: Path, text: bytes, sign_key: Path) -> None:
    key = _read(sign_key, "expected the file that 'finetune export --sign_key' was given")
    signature = _read(folder / SIGNATURE, "a --sign_key was given, so the bundle must be signed")
    expected = hmac.new(key, text, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.strip(), expected.encode()):
        raise StartError(f"The signature of {folder} is not one by the --sign_key: it was changed, or signed with another key.")

"""The recordings in a request's body: multipart or JSON, counted while they come in, and never on a disk.

A client's file names are dropped here: nothing after this knows them.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from serve.errors import Refusal
from serve.schemas import PredictRequest

MAX_FIELD_BYTES = 2**20
DISCARD_S = 2.0


@dataclass(frozen=True)
class Upload:
    """One recording as it came: the bytes of its file, and its metadata."""

    content: bytes = field(repr=False)
    metadata: dict[str, Any] | None = field(repr=False)


async def read_uploads(request: Request, max_bytes: int, max_files: int) -> list[Upload]:
    """Read a request's body.

    Args:
        request: of which nothing was read yet.
        max_bytes: largest body.
        max_files: most recordings.

    Raises:
        Refusal: the body is too large, is not what its type says, or holds no recording or too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal("unsupported_content_type", "The body is compressed (Content-Encoding): send it as it is.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    if kind == "multipart/form-data":
        uploads = await _multipart(request, max_bytes, max_files)
    elif kind == "application/json":
        body = b"".join([chunk async for chunk in _counted(request, max_bytes)])
        # In a thread, since a large body would hold up all other requests.
        uploads = await asyncio.to_thread(_json, body, max_files)
    else:
        raise Refusal("unsupported_content_type", "The body has another Content-Type than multipart/form-data or application/json.")
    if not uploads:
        raise Refusal("no_files", "The request holds no recording.")
    return uploads


async def discard(request: Request, max_bytes: int) -> None:
    """Read on what a refused client still sends, a little and not for long: one whose connection is closed meanwhile never reads why."""
    read = 0
    # Where the body was read to its end, or the client is gone, there is nothing to do.
    with suppress(TimeoutError, RuntimeError, ClientDisconnect):
        async with asyncio.timeout(DISCARD_S):
            async for chunk in request.stream():
                read += len(chunk)
                if read > max_bytes:
                    break


class _InMemory(MultiPartParser):
    """Starlette's parser, which would put larger files on the disk."""

    spool_max_size = 0  # without limit: the body's own has been counted


async def _multipart(request: Request, max_bytes: int, max_files: int) -> list[Upload]:
    parser = _InMemory(
        request.headers, _counted(request, max_bytes), max_files=max_files, max_fields=1, max_part_size=min(max_bytes, MAX_FIELD_BYTES)
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(max_files) from error
        raise Refusal("bad_request", "The body is not the multipart/form-data that its Content-Type announces.") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        contents = [file.file.read() for file in files]
    finally:
        await form.close()
    if fields.keys() - {"metadata"}:
        raise Refusal("bad_request", "The form has a field that is neither a file nor 'metadata'.")
    known = _form_metadata(fields["metadata"], len(files)) if "metadata" in fields else [None] * len(files)
    return [Upload(content, metadata) for content, metadata in zip(contents, known, strict=True)]


def _form_metadata(text: str, number: int) -> list[Any]:
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        known = None
    if not isinstance(known, list) or len(known) != number or not all(row is None or isinstance(row, dict) for row in known):
        raise Refusal("bad_metadata", "The field 'metadata' is not a JSON list with one object or null for each recording.")
    return known


def _json(body: bytes, max_files: int) -> list[Upload]:
    try:
        request = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise Refusal("bad_request", _first(error)) from error
    if len(request.recordings) > max_files:
        raise _too_many(max_files)
    return [Upload(_decoded(recording.audio), recording.metadata) for recording in request.recordings]


def _first(error: ValidationError) -> str:
    """Where the JSON is wrong, without what it holds."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if wrong["type"] == "json_invalid":
        return "The body is not JSON."
    known = {"recordings", "audio", "metadata"}
    place = ".".join(str(part) for part in wrong["loc"] if isinstance(part, int) or part in known)
    return f"The body does not fit at {place or 'its top'}: {wrong['msg'].lower()}; see /openapi.json."


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("bad_base64", "The field 'audio' is not base64.") from error


async def _counted(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    read = 0
    try:
        async for chunk in request.stream():
            read += len(chunk)
            if read > max_bytes:
                raise _too_large(max_bytes)
            yield chunk
    except ClientDisconnect as error:
        raise Refusal("bad_request", "The client ended the connection before the body's end.") from error


def _too_large(max_bytes: int) -> Refusal:
    return Refusal("too_many_bytes", f"The body is larger than {max_bytes} bytes, the most that is taken.")


def _too_many(max_files: int) -> Refusal:
    return Refusal("too_many_files", f"The request holds more than {max_files} recordings, the most that are taken.")

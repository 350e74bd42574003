"""A file on a web server, read in order, that survives a lost connection."""

import http.client
import time
import urllib.error
import urllib.request
from types import TracebackType

TRIES = 6
FIRST_WAIT_S = 0.5
TIMEOUT_S = 30.0
# Skipping so much costs about as much as asking anew.
SKIP_BYTES = 2**20
# Answers that may be others a moment later.
PASSING = (408, 425, 429, 500, 502, 503, 504)


class HttpFile:
    """Reads from one open connection; asks for the rest of the file (``Range``) after a seek or a fault.

    A server that does not know ranges sends the file from its start, of which the beginning is then skipped.

    Args:
        url: address, http or https.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._position = 0
        self._response: http.client.HTTPResponse | None = None
        self._size: int | None = None

    def seek(self, position: int) -> None:
        """Go to byte ``position``."""
        skipped = position - self._position
        if self._response is not None and 0 <= skipped <= SKIP_BYTES:
            self.read(skipped)
        elif skipped:
            self.close()
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer at the end of the file; all that are left where it is negative.

        Raises:
            FileNotFoundError: the server has no such file.
            OSError: it refuses, or did not answer in `TRIES` attempts.
        """
        parts: list[bytes] = []
        left = size
        while left and (part := self._read_part(left)):
            parts.append(part)
            left -= len(part) if size > 0 else 0
        return b"".join(parts)

    def close(self) -> None:
        """Give up the connection; reading opens another."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def __enter__(self) -> "HttpFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_part(self, size: int) -> bytes:
        for attempt in range(TRIES):
            try:
                if self._response is None:
                    self._open()
                assert self._response is not None
                # Never all at once: what came before a fault would be lost.
                part = self._response.read(min(size, SKIP_BYTES) if size > 0 else SKIP_BYTES)
                if not part and self._size is not None and self._position < self._size:
                    raise http.client.IncompleteRead(part, self._size - self._position)
                self._position += len(part)
                return part
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if isinstance(error, urllib.error.HTTPError) and error.code not in PASSING:
                    if error.code == 416:
                        return b""
                    raise (FileNotFoundError if error.code in (404, 410) else OSError)(f"{error.code} {error.reason}") from error
                if attempt == TRIES - 1:
                    raise OSError(f"{error}, {TRIES} times") from error
                time.sleep(FIRST_WAIT_S * 2**attempt)
        raise AssertionError("unreachable")

    def _open(self) -> None:
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self._position}-"} if self._position else {})
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        header = response.headers.get("Content-Length")
        length = None if header is None else int(header)
        if response.status == 200:
            self._size = length
            self._skip(response, self._position if length is None else min(self._position, length))
        else:
            self._size = None if length is None else self._position + length
        self._response = response

    @staticmethod
    def _skip(response: http.client.HTTPResponse, size: int) -> None:
        while size:
            part = response.read(min(size, SKIP_BYTES))
            if not part:
                raise http.client.IncompleteRead(b"", size)
            size -= len(part)

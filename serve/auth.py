"""The bearer token."""

import hashlib
import hmac

from serve.errors import Refusal


def check_token(header: str | None, token: str | None) -> None:
    """Compare a request's Authorization header with the token, in a time that tells nothing of it.

    Args:
        header: of the request; None where it has none.
        token: None lets every request in.

    Raises:
        Refusal: the header is missing or holds another token.
    """
    if token is None:
        return
    scheme, _, given = (header or "").partition(" ")
    # Of equal length, so that not even the token's length shows.
    same = hmac.compare_digest(_digest(given.strip()), _digest(token))
    if scheme.lower() != "bearer" or not same:
        raise Refusal("unauthorized", "The request has no valid token: send 'Authorization: Bearer TOKEN'.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

"""A FLAC file as an encoder that writes to a pipe leaves it."""


def without_length(flac: bytes) -> bytes:
    """The same FLAC with 0 (unknown) for the 36 bits of its number of samples, which end STREAMINFO's first 18 bytes (RFC 9639)."""
    head = bytearray(flac)
    head[21] &= 0xF0
    head[22:26] = bytes(4)
    return bytes(head)

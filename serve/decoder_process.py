"""The process that decodes: recordings come in by standard input and go out by standard output, one after the other.

What a hostile file can do to a decoder (crash it, hang it, fill its memory) it does here, where nothing else is lost. The process ends
when its input does, so that none outlives the service.

A message is 4 bytes (length of the header), 8 bytes (length of the body), the header as JSON, and the body; numbers are little endian.
"""

import json
import resource
import struct
import sys
from typing import Any, BinaryIO

from serve.decode import DecodeLimits, decode
from serve.errors import Refusal

LENGTHS = struct.Struct("<IQ")
# What the interpreter and its libraries map, and a file.
BASE_BYTES = 2**30


def message(header: dict[str, Any], body_bytes: int) -> bytes:
    """What stands before a body."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), body_bytes) + text


def main() -> None:
    limits = DecodeLimits(**json.loads(sys.argv[1]))
    # A recording must not land on the disk as a core dump either.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # The decoded blocks, the waveform that they are joined to, and as much again for what is freed late.
    room = BASE_BYTES + 3 * 4 * int(limits.max_seconds * limits.max_rate_hz)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    # By this the pool knows that the imports are done.
    acknowledge()
    while head := sys.stdin.buffer.read(LENGTHS.size):
        header_bytes, body_bytes = LENGTHS.unpack(head)
        sys.stdin.buffer.read(header_bytes)
        content = sys.stdin.buffer.read(body_bytes)
        # Whether a process that ends had begun to decode: only then is the recording to blame.
        acknowledge()
        answer(content, limits, sys.stdout.buffer)


def acknowledge() -> None:
    sys.stdout.buffer.write(message({}, 0))
    sys.stdout.buffer.flush()


def answer(content: bytes, limits: DecodeLimits, out: BinaryIO) -> None:
    try:
        decoded = decode(content, limits)
    except Refusal as refusal:
        out.write(message({"reason": refusal.reason, "message": refusal.message}, 0))
    except MemoryError:
        out.write(message({"reason": "too_long", "message": "The recording needs more memory than a decoder may take."}, 0))
    else:
        waveform = decoded.waveform
        about = {"sample_rate": decoded.sample_rate, "channels": decoded.channels, "steady_noise": decoded.steady_noise}
        out.write(message(about, waveform.nbytes))
        out.write(waveform.data)
    out.flush()


if __name__ == "__main__":
    main()

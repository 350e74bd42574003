"""Where the service listens, and how uvicorn does it."""

import math
import socket
from typing import Any

from serve.errors import StartError
from serve.logs import log
from serve.settings import Settings


def server_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told; its log goes the way of ours."""
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "on",
        "loop": "asyncio",
        "http": "h11",
        "ws": "none",
        "timeout_graceful_shutdown": math.ceil(settings.drain_s),
    }


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, not yet listening, so that nobody connects before the model is loaded.

    Raises:
        StartError: the address is taken or is none of this machine's.
    """
    # By its protocol asyncio knows a connection of TCP, on which it lets no small packet wait for the acknowledgement of the one before:
    # a client that keeps its connection would else wait 40 ms for every answer.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"Cannot listen at {host}:{port} ({error.strerror or error}): choose another --host or --port.") from error
    listener.set_inheritable(True)
    log("bound", host=host, port=listener.getsockname()[1])
    return listener

"""From settings to a listening service: one worker in this process, or several under a supervisor."""

import math
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn

from serve.errors import StartError
from serve.logs import log, set_up
from serve.settings import Settings


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: the address is taken, or the bundle cannot be served.
    """
    set_up(settings.log_level)
    listener = bind(settings.host, settings.port)
    if settings.workers > 1:
        from serve.workers import run_workers

        run_workers(settings, listener)
        return
    from serve.app import create_app
    from serve.engine import load_model

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn drains first, and then hands the signal on to whoever waited for it before.
        signal.signal(number, _asked_to_stop)
    sign_key = settings.sign_key.get_secret_value() if settings.sign_key else None
    app = create_app(settings, load_model(settings.model, settings.backend, settings.threads, sign_key))
    uvicorn.Server(uvicorn.Config(app, **server_options(settings))).run([listener])


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
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"Cannot listen at {host}:{port} ({error.strerror or error}): choose another --host or --port.") from error
    listener.set_inheritable(True)
    log("bound", host=host, port=listener.getsockname()[1])
    return listener


def _asked_to_stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)

"""From settings to a listening service: one worker in this process, or several under a supervisor."""

import logging
import resource
import signal
import sys
from types import FrameType

import uvicorn

from serve.listener import bind, server_options
from serve.logs import log, set_up
from serve.settings import Settings, unknown_variables


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: the address is taken, or the bundle cannot be served.
    """
    set_up(settings.log_level)
    # Whatever ends this process or its workers, recordings must not land on the disk as a core dump.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if unknown := unknown_variables():
        log("unknown_variables", logging.WARNING, names=unknown)
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
    # Until the application hears it: while the bundle is read there is nothing to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    app = create_app(settings, load_model(settings.model, settings.backend, settings.threads, settings.sign_key))
    uvicorn.Server(uvicorn.Config(app, **server_options(settings))).run([listener])


def _asked_to_stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)

"""Several workers behind one port: processes that share its socket, kept alive by uvicorn's supervisor.

Each has a model and decoders of its own. Their metrics meet in a folder, so that a scrape of any of them is of all.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from serve.bundle import read_bundle
from serve.errors import StartError
from serve.listener import server_options
from serve.logs import log, set_up
from serve.settings import PREFIX, Settings

# The metrics' files are mapped, and a full disk under a mapped file ends the process that writes to it.
MEMORY = "/dev/shm"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def run_workers(settings: Settings, listener: socket.socket) -> None:
    """Serve with ``settings.workers`` processes until SIGTERM or SIGINT.

    Raises:
        StartError: the bundle cannot be served.
    """
    # Here it can be said in one sentence; workers read it again.
    read_bundle(settings.model, settings.backend, settings.sign_key)
    _export(settings)
    with tempfile.TemporaryDirectory(prefix="auscult-metrics-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        # prometheus_client looks at it when it is imported, which the workers do.
        os.environ[METRICS_FOLDER] = folder
        config = uvicorn.Config("serve.workers:worker", factory=True, workers=settings.workers, **server_options(settings))
        supervisor = _Supervisor(config, [listener])
        supervisor.run()
    if supervisor.failed:
        raise StartError("A worker could not start; the log says why.")


def worker() -> FastAPI:
    """The application of one worker, from the settings that the supervisor left in the environment."""
    # Until the application hears it: a signal that reads the bundle again must not end a worker that is about to read it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = Settings()  # type: ignore[call-arg]
    set_up(settings.log_level)
    supervisor = os.getppid()
    threading.Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    from serve.app import create_app
    from serve.engine import load_model

    async def swapped() -> None:
        # It sends the signal on to all workers; this one will find the bundle unchanged.
        os.kill(supervisor, signal.SIGHUP)

    try:
        return create_app(settings, load_model(settings.model, settings.backend, settings.threads, settings.sign_key), swapped)
    except StartError as error:
        log("bundle_refused", logging.ERROR, why=str(error))
        sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """uvicorn's, which starts ended workers again; SIGHUP goes to the workers, and the metrics of ended ones are put right.

    Attributes:
        failed: whether it ended since a worker could not start.
    """

    failed = False

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        # In place of uvicorn's, which waits for a sign of life of each worker: of one that loads its model or just ended that takes long.
        from prometheus_client.multiprocess import mark_process_dead

        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.exitcode is None:
                continue
            mark_process_dead(process.pid)
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
                return
            log("worker_replaced", logging.WARNING, worker=process.pid, exit_code=process.exitcode)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()


def _export(settings: Settings) -> None:
    """Leave the settings where the workers read theirs."""
    for name, value in settings:
        if value is not None:
            os.environ[PREFIX + name.upper()] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


def _end_with(supervisor: int) -> None:
    """Stop this worker when its supervisor is gone: it would hold the port for ever."""
    while os.getppid() == supervisor:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)

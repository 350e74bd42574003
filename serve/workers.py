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
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from serve.bundle import read_bundle
from serve.errors import StartError
from serve.listener import server_options
from serve.logs import log, set_up
from serve.metric_files import FOLDER, PLACE, forget_gauges, reserve, take_place
from serve.settings import PREFIX, Settings

# Where the metrics' files are, so that no disk is written to.
MEMORY = "/dev/shm"


def run_workers(settings: Settings, listener: socket.socket) -> None:
    """Serve with ``settings.workers`` processes until SIGTERM or SIGINT.

    Raises:
        StartError: the bundle cannot be served, or there is no room for the workers' metrics.
    """
    # Here it can be said in one sentence; workers read it again.
    read_bundle(settings.model, settings.backend, settings.sign_key)
    with tempfile.TemporaryDirectory(prefix="auscult-metrics-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        try:
            reserve(Path(folder), settings.workers)
        except OSError as error:
            raise StartError(f"Cannot keep the metrics of {settings.workers} workers in {folder} ({error.strerror}): make room.") from error
        _export(settings)
        os.environ[FOLDER] = folder
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
    take_place(int(os.environ[PLACE]))
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
    """uvicorn's, which starts ended workers again, each in its own place; SIGHUP goes to the workers.

    Attributes:
        failed: whether it ended since a worker could not start.
    """

    failed = False

    def init_processes(self) -> None:
        self.processes = [self._started(place) for place in range(self.processes_num)]

    def _started(self, place: int) -> Process:
        # A worker takes over its supervisor's environment as it is at its start.
        os.environ[PLACE] = str(place)
        process = Process(self.config, self.sockets)
        process.start()
        return process

    def handle_ttin(self) -> None:
        """The number of workers is a setting: there is no place for more."""

    def handle_ttou(self) -> None:
        """See `handle_ttin`."""

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        # In place of uvicorn's, which waits for a sign of life of each worker: of one that loads its model or just ended that takes long.
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.exitcode is None:
                continue
            forget_gauges(Path(os.environ[FOLDER]), place)
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
                return
            log("worker_replaced", logging.WARNING, worker=process.pid, exit_code=process.exitcode)
            self.processes[place] = self._started(place)


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

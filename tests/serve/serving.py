"""A service that listens on a port of its own, in a thread of the test's process."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import uvicorn

from serve.app import create_app
from serve.engine import load_model
from serve.listener import bind, server_options
from serve.predictor import Predictor
from serve.settings import Settings
from tests.serve.made_bundle import made_clip

WAIT_S = 120.0


@dataclass
class Serving:
    """A client of a running service, and what is behind it."""

    client: httpx.Client
    url: str
    predictor: Predictor

    def predict(self, *files: bytes, address: str = "/v1/predict", **options: Any) -> httpx.Response:
        return self.client.post(address, files=[("file", ("recording.wav", content)) for content in files], **options)

    def frames(self, *files: bytes, **options: Any) -> httpx.Response:
        return self.predict(*files, address="/v1/frames", **options)

    def metric(self, row: str) -> float:
        """A row of /metrics by its name and labels; 0 where it is not there."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(f"{row} "):
                return float(line.rpartition(" ")[2])
        return 0.0


@contextmanager
def serving(bundle: Path, **settings: Any) -> Iterator[Serving]:
    """Run the service within the block."""
    chosen = Settings(model=bundle, **settings)
    app = create_app(chosen, load_model(chosen.model, chosen.backend, chosen.threads))
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, **server_options(chosen)))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until(lambda: server.started)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=WAIT_S) as client:
        yield Serving(client, url, app.state.predictor)
    server.should_exit = True
    thread.join(WAIT_S)
    assert not thread.is_alive(), "the service did not stop"


def until(condition: Any, seconds: float = WAIT_S) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def wav(waveform: np.ndarray, rate: int, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    """A file's bytes from float32 [T] or [T, channels]."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, subtype=subtype, format=kind)
    return file.getvalue()


# A recording that every bundle here answers.
GOOD = wav(made_clip(0.5, 4000, 3), 4000)

"""Debian's Prometheus, scraping a service of the test."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.operation.dashboard import FOLDER
from tests.serve.serving import WAIT_S, until


class Prometheus:
    """A client of it."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=WAIT_S)

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/status/runtimeinfo").status_code == 200
        return False

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows of an instant query, which must parse and run."""
        response = self._client.get("/query", params={"query": text})
        assert response.status_code == 200, f"{text}: {response.text}"
        assert not response.json().get("warnings")
        return response.json()["data"]["result"]

    def alerts(self) -> dict[str, str]:
        """Alert -> health of its rule."""
        groups = self._client.get("/rules").json()["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


@contextlib.contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """The configuration of the image, with another target, and scraping as often as a test's patience asks for.

    Args:
        folder: empty; takes the configuration and the data.
        target: host and port of the service.
    """
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs Debian's package 'prometheus'")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "alerts.yml").write_text((FOLDER / "alerts.yml").read_text(encoding="utf-8"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data", "web.listen-address": f"127.0.0.1:{port}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log)
    try:
        client = Prometheus(port)
        until(lambda: process.poll() is not None or client.ready())
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield client
    finally:
        process.kill()
        process.wait()

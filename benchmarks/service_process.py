"""A service in a process of its own, as the benchmarks of it see it: its address, its memory, its descriptors, the files that it leaves."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
START_S = 120.0


@dataclass(frozen=True)
class ServiceProcess:
    """A running service.

    Attributes:
        url: of it.
        pid: of its first process.
        folder: its current folder and its place for temporary files; empty at the start but for the log.
    """

    url: str
    pid: int
    folder: Path

    def processes(self) -> list[int]:
        """The service's process and its decoders."""
        found, pending = [], [self.pid]
        while pending:
            found.append(pid := pending.pop())
            with suppress(OSError):
                pending += [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
        return found

    def memory_mb(self) -> float:
        """Resident memory of all its processes, MB; pages that they share count in each."""
        pages = 0
        for pid in self.processes():
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)

    def descriptors(self) -> int:
        """Open file descriptors of the service's process."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def left_files(self) -> list[str]:
        """Files in its folder, which is also where its temporary files would be."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.name != "log"]

    def log(self) -> list[dict[str, object]]:
        """The lines of its log."""
        lines = (self.folder / "log").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


@contextmanager
def service_process(bundle: Path, *options: object) -> Iterator[ServiceProcess]:
    """Run ``python -m serve`` within the block.

    Args:
        bundle: folder of the bundle.
        options: words of the command line.

    Raises:
        UserError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="auscult-service-") as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": name, "HOME": name}
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "serve", "--model", str(bundle.absolute()), "--port", "0", *map(str, options)]
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        service = ServiceProcess("", process.pid, folder)
        try:
            yield ServiceProcess(_address(service, process), process.pid, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(service: ServiceProcess, process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            last = (service.folder / "log").read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise UserError(f"python -m serve did not start: {' '.join(last)}")
        for line in service.log():
            if line["event"] == "bound":
                url = f"http://127.0.0.1:{line['port']}"
                with suppress(httpx.TransportError):
                    if httpx.get(f"{url}/readyz").status_code == 200:
                        return url
        time.sleep(0.05)
    raise UserError(f"python -m serve was not ready within {START_S:g} s: see what its log says when it is started by hand.")

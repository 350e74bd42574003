"""What goes wrong while a service answers: its decoders are killed, nothing that it writes finds room, another bundle takes over."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.service_process import ServiceProcess

# At which share of the time; the disk is full from one share to another.
KILLED, FULL, SWAPPED = 0.2, (0.4, 0.5), 0.7
SWAP_S = 60.0


@contextmanager
def two_versions(folder: Path, bundle: Path) -> Iterator[Path]:
    """A link to ``bundle``, which within the block can be pointed at another version of it with `take_other`.

    The other version has the same files and so the same answers; its model.json, by whose hash versions are told apart, has one more
    newline.
    """
    link, other = folder / "current", folder / "other"
    other.mkdir()
    for path in bundle.resolve().iterdir():
        if path.name != "model.json":
            (other / path.name).symlink_to(path)
    (other / "model.json").write_bytes((bundle / "model.json").read_bytes() + b"\n")
    link.symlink_to(bundle.resolve())
    yield link


def take_other(service: ServiceProcess, link: Path) -> None:
    """Point the link at the other version, and have the service read it."""
    link.unlink()
    link.symlink_to(link.parent / "other")
    os.kill(service.pid, signal.SIGHUP)


async def bad_day(service: ServiceProcess, link: Path, seconds: float) -> dict[str, Any]:
    """Let everything happen once, spread over ``seconds``; what was done, for the record."""
    begun = time.perf_counter()

    async def wait_until(share: float) -> None:
        await asyncio.sleep(max(0.0, begun + share * seconds - time.perf_counter()))

    await wait_until(KILLED)
    decoders = [pid for pid in service.processes() if pid != service.pid]
    for pid in decoders:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await wait_until(FULL[0])
    with no_file_grows(service):
        await wait_until(FULL[1])
    await wait_until(SWAPPED)
    take_other(service, link)
    return {"killed_decoders": len(decoders), "full_disk_s": round((FULL[1] - FULL[0]) * seconds, 1)}


async def swapped(service: ServiceProcess) -> None:
    """Wait until the service has read the other version; TimeoutError where it does not within a minute."""
    async with asyncio.timeout(SWAP_S):
        while not any(line["event"] == "bundle_read" for line in service.log()):
            await asyncio.sleep(0.2)


@contextmanager
def no_file_grows(service: ServiceProcess) -> Iterator[None]:
    """Within the block every write of the service to a file fails, its log's among them, as on a full disk. Its decoders never may."""
    soft, hard = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (soft, hard))

"""A full disk: what the service writes, where it finds no room, and that answers go on."""

import errno
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.__main__ import main
from serve.metric_files import FOLDER, GAUGES, KINDS, PLACE, ROOM_BYTES, forget_gauges, make_room, reserve
from tests.serve.made_bundle import made_onnx_bundle
from tests.serve.serving import GOOD, WAIT_S, serving, until
from tests.serve.test_process import ROOT, TOKEN, running
from tests.serve.test_refusals import reason

# A mount of its own over /dev/shm, in a namespace that needs no rights where the kernel lets users have one.
SMALL_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"', "sh"]


# In /proc/net/tcp.
LISTENS = "0A"


def no_room(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def gauge_file(folder: Path) -> Path:
    return folder / f"{GAUGES}_0.db"


def test_workers_answer_are_replaced_and_swap_while_their_disk_is_full(tmp_path: Path) -> None:
    try:
        subprocess.run([*SMALL_DISK, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small file system of their own")
    place = tmp_path / "current"
    place.symlink_to(made_onnx_bundle(tmp_path / "one"))
    made_onnx_bundle(tmp_path / "other", slope=-3.0)
    settings = {"AUSCULT_TOKEN": "secret", "TMPDIR": "/dev/shm"}
    command = ["--model", place, "--backend", "onnx", "--workers", 2, "--decoders", 1]
    with running(tmp_path, *command, within=SMALL_DISK, **settings) as service:

        def metric(row: str) -> float:
            found = re.search(rf"^{re.escape(row)} (\S+)$", service.client.get("/metrics").text, re.MULTILINE)
            return float(found.group(1)) if found else 0.0

        def ask_often() -> None:
            # A connection each, so that both workers are asked.
            for _ in range(6):
                answer = httpx.post(f"{service.client.base_url}/v1/predict", files={"file": ("x", GOOD)}, headers=TOKEN, timeout=WAIT_S)
                assert answer.status_code == 200, answer.text

        disk = Path(f"/proc/{service.process.pid}/root/dev/shm")
        fill(disk / "filler")
        ask_often()
        first = service.predict().json()
        place.unlink()
        place.symlink_to(tmp_path / "other")
        assert service.client.post("/v1/model", headers=TOKEN).json()["outcome"] == "swapped"
        until(lambda: metric(f'auscult_model_info{{backend="onnx",version="{first["model"]}"}}') == 0)
        ask_often()
        os.kill(min(line["process"] for line in service.lines("request")), signal.SIGKILL)
        until(lambda: service.lines("worker_replaced"))
        until(lambda: metric(f'auscult_model_info{{backend="onnx",version="{service.predict().json()["model"]}"}}') == 2)
        ask_often()
        assert metric('auscult_errors_total{reason="internal"}') == 0
        assert [line["exit_code"] for line in service.lines("worker_replaced")] == [-signal.SIGKILL], "a worker found no room"
        assert sorted(path.name for path in disk.glob("*/*.db")) == sorted(f"{kind}_{worker}.db" for kind in KINDS for worker in range(2))


def fill(path: Path) -> None:
    """Write until there is no room for a single byte."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        while True:
            file.write(bytes(2**16))


def test_without_room_for_their_metrics_workers_do_not_start(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(SystemExit) as end:
        main(["--model", str(bundle), "--port", "0", "--workers", "2"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 1 and last.startswith("error: Cannot keep the metrics of 2 workers") and "No space left" in last


def test_a_bundle_whose_metrics_find_no_room_is_not_taken(
    bundle: Path, other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "current"
    place.symlink_to(bundle)
    with serving(place, token="secret") as service:
        before = service.predict(GOOD, headers=TOKEN).json()
        reserve(tmp_path, 1)
        gauge_file(tmp_path).write_bytes(struct.pack("i", ROOM_BYTES // 2 + 8) + bytes(ROOM_BYTES - 4))
        monkeypatch.setenv(FOLDER, str(tmp_path))
        monkeypatch.setenv(PLACE, "0")
        place.unlink()
        place.symlink_to(other_bundle)
        with monkeypatch.context() as full:
            full.setattr(os, "posix_fallocate", no_room)
            refused = service.client.post("/v1/model", headers=TOKEN)
        assert reason(refused) == "storage_full" and int(refused.headers["retry-after"]) >= 1
        assert service.predict(GOOD, headers=TOKEN).json()["model"] == before["model"]
        assert service.client.post("/v1/model", headers=TOKEN).json()["outcome"] == "swapped"


def test_rooms_are_taken_and_not_only_promised(tmp_path: Path) -> None:
    reserve(tmp_path, 2)
    files = list(tmp_path.iterdir())
    assert len(files) == 2 * len(KINDS) and all(path.stat().st_blocks * 512 >= ROOM_BYTES for path in files)
    make_room(tmp_path, 0)
    assert {path.stat().st_size for path in files} == {ROOM_BYTES}
    gauge_file(tmp_path).write_bytes(struct.pack("i", ROOM_BYTES // 2 + 8) + bytes(ROOM_BYTES - 4))
    make_room(tmp_path, 0)
    assert gauge_file(tmp_path).stat().st_blocks * 512 >= gauge_file(tmp_path).stat().st_size == 2 * ROOM_BYTES
    forget_gauges(tmp_path, 0)
    assert gauge_file(tmp_path).read_bytes()[:4] == bytes(4) and gauge_file(tmp_path).stat().st_size == 2 * ROOM_BYTES


def test_a_write_that_finds_no_room_is_a_refusal(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(bundle) as service:
        with monkeypatch.context() as full:
            full.setattr(tempfile.SpooledTemporaryFile, "write", no_room)
            assert reason(service.predict(GOOD)) == "storage_full"
        assert service.predict(GOOD).status_code == 200
        assert service.metric('auscult_errors_total{reason="storage_full"}') == 1


def test_missing_memory_is_a_refusal(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: Any) -> None:
        raise MemoryError

    with serving(bundle) as service:
        monkeypatch.setattr("serve.predictor.check_limits", starved)
        assert reason(service.predict(GOOD, GOOD)) == "out_of_memory"


def test_a_worker_alone_writes_no_file_and_goes_on_without_its_log(bundle: Path, tmp_path: Path) -> None:
    """No file may grow by a byte, and the log finds no room; a recording of more than a megabyte, which a form's parser would spool."""
    large = GOOD[:44] + GOOD[44:] * 400
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--model", str(bundle), "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            stdout=full,
            stderr=full,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
    try:
        until(lambda: process.poll() is not None or listening_port(process.pid))
        assert re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{process.pid}/limits").read_text(), re.MULTILINE)
        with httpx.Client(base_url=f"http://127.0.0.1:{listening_port(process.pid)}", timeout=WAIT_S) as client:
            for content in (GOOD, large, b"no audio"):
                assert client.post("/v1/predict", files={"file": ("x", content)}).status_code == (422 if content == b"no audio" else 200)
            assert 'auscult_requests_total{route="/v1/predict",status="200"} 2' in client.get("/metrics").text
    finally:
        process.terminate()
        process.wait(WAIT_S)
    assert list(tmp_path.iterdir()) == []


def listening_port(pid: int) -> int:
    """At which a process listens; 0 while it does not. Its log, which names it, is lost."""
    descriptors = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed meanwhile.
        with suppress(FileNotFoundError):
            descriptors.add(str(path.readlink()))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return next((int(row[1].split(":")[1], 16) for row in rows if row[3] == LISTENS and f"socket:[{row[9]}]" in descriptors), 0)

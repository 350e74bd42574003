"""``python -m serve`` as operators run it: a real process, its signals, its log, and several workers behind one port."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.__main__ import main
from serve.settings import Settings, parse
from tests.serve.made_bundle import made_bundle, made_onnx_bundle, write_description
from tests.serve.serving import GOOD, WAIT_S, until

ROOT = Path(__file__).resolve().parents[2]
TOKEN = {"authorization": "Bearer secret"}


class Process:
    """A service in a process of its own.

    Args:
        folder: for its log.
        args: of its command line.
        within: words of a command that runs it, by exec.
        environment: of it, beside that of the tests.
    """

    def __init__(self, folder: Path, *args: object, within: Sequence[str] = (), **environment: str) -> None:
        self.log_path = folder / "log.jsonl"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "serve", "--port", "0", *map(str, args)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stderr=log,
                stdout=log,
            )
        until(lambda: self.process.poll() is not None or self.lines("bound"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.lines('bound')[0]['port']}", timeout=WAIT_S)
        until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text(encoding="utf-8")
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/readyz").status_code == 200
        return False

    def predict(self, content: bytes = GOOD, name: str = "x.wav") -> httpx.Response:
        return self.client.post("/v1/predict", files=[("file", (name, content))], headers=TOKEN)

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, each of which must be JSON; those of one event."""
        text = self.log_path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if event in (None, line["event"])]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@contextlib.contextmanager
def running(folder: Path, *args: object, within: Sequence[str] = (), **environment: str) -> Iterator[Process]:
    process = Process(folder, *args, within=within, **environment)
    try:
        yield process
    finally:
        process.client.close()
        process.process.kill()
        process.process.wait()


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_one_process_answers_swaps_on_hangup_and_drains(bundle: Path, other_bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "current"
    place.symlink_to(bundle)
    with running(tmp_path, "--timeout-s", "20", AUSCULT_MODEL=str(place), AUSCULT_TOKEN="secret", AUSCULT_MAX_FILE="3") as service:
        assert [line["names"] for line in service.lines("unknown_variables")] == [["AUSCULT_MAX_FILE"]]
        first = service.predict(name="Doe, John *1961.wav").json()
        assert service.client.post("/v1/predict").status_code == 401
        place.unlink()
        place.symlink_to(other_bundle)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.lines("bundle_read"))
        second = service.predict().json()
        assert second["model"] != first["model"] and second["results"] != first["results"]
        decoders = children(service.process.pid)
        assert len(decoders) == 2
        assert all(b"AUSCULT_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes() for pid in decoders)
        assert service.stop() == 0
        until(lambda: not any(lives(pid) for pid in decoders))
        requests = [line for line in service.lines("request") if line["route"] == "/v1/predict"]
        assert [line["status"] for line in requests] == [200, 401, 200] and requests[0]["clip_seconds"] == 0.5
        assert requests[1]["reason"] == "unauthorized"
        assert requests[0]["request_id"] == first["request_id"]
        log = service.log_path.read_text(encoding="utf-8")
        assert "Doe" not in log and "secret" not in log and "127.0.0.1" not in log.replace('"host": "127.0.0.1"', "")


def test_a_stop_waits_for_the_answer_in_hand(bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--model", bundle, "--decoders", 1) as service:
        # A stopped decoder holds the request up until after the stop was asked for.
        (decoder,) = children(service.process.pid)
        assert service.predict().status_code == 200
        os.kill(decoder, signal.SIGSTOP)
        sender = httpx.Client(base_url=service.client.base_url, timeout=WAIT_S)
        code = "import sys, httpx; print(httpx.post(sys.argv[1], files={'file': ('x', open(sys.argv[2], 'rb'))}, timeout=60).status_code)"
        (tmp_path / "x.wav").write_bytes(GOOD)
        request = subprocess.Popen(
            [sys.executable, "-c", code, f"{sender.base_url}/v1/predict", str(tmp_path / "x.wav")], stdout=subprocess.PIPE, text=True
        )
        until(lambda: "auscult_requests_in_flight 1.0" in sender.get("/metrics").text)
        sender.close()
        service.client.close()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        os.kill(decoder, signal.SIGCONT)
        assert request.communicate(timeout=WAIT_S)[0].strip() == "200"
        assert service.process.wait(WAIT_S) == 0


def test_several_workers_share_a_port_their_metrics_and_a_swap(tmp_path: Path) -> None:
    bundle, other_bundle = made_onnx_bundle(tmp_path / "one"), made_onnx_bundle(tmp_path / "other", slope=-3.0)
    place = tmp_path / "current"
    place.symlink_to(bundle)
    with running(tmp_path, "--model", place, "--backend", "onnx", "--workers", 2, "--decoders", 1, AUSCULT_TOKEN="secret") as service:

        def metric(row: str) -> float:
            found = re.search(rf"^{re.escape(row)} (\S+)$", service.client.get("/metrics").text, re.MULTILINE)
            return float(found.group(1)) if found else 0.0

        def loaded(version: str) -> float:
            return metric(f'auscult_model_info{{backend="onnx",version="{version}"}}')

        version = service.predict().json()["model"]
        until(lambda: loaded(version) == 2)
        for _ in range(10):
            # A connection each, so that both workers are asked.
            httpx.post(f"{service.client.base_url}/v1/predict", files={"file": ("x", GOOD)}, headers=TOKEN, timeout=WAIT_S)
        assert metric('auscult_requests_total{route="/v1/predict",status="200"}') == 11
        workers = {line["process"] for line in service.lines("request")}
        assert len(workers) == 2, "one worker answered everything"
        assert not any("libtorch" in Path(f"/proc/{pid}/maps").read_text() for pid in workers), "ONNX does without torch"

        place.unlink()
        place.symlink_to(other_bundle)
        swapped = service.client.post("/v1/model", headers=TOKEN).json()
        assert swapped["outcome"] == "swapped" and swapped["previous"] == version
        until(lambda: loaded(swapped["version"]) == 2 and loaded(version) == 0)

        os.kill(min(workers), signal.SIGKILL)
        until(lambda: service.lines("worker_replaced"))
        until(lambda: loaded(swapped["version"]) == 2)
        until(lambda: len(children(service.process.pid)) >= 2)
        assert service.predict().status_code == 200
        assert metric('auscult_requests_total{route="/v1/predict",status="200"}') == 12, "a dead worker's numbers were lost"

        left = children(service.process.pid)
        service.process.kill()
        until(lambda: not any(lives(pid) for pid in left))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bundle_that_cannot_be_served_ends_the_start_in_one_sentence(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = made_bundle(tmp_path / "bundle")
    (bundle / "model.pt").write_bytes(b"else")
    with pytest.raises(SystemExit) as end:
        main(["--model", str(bundle), "--port", "0", "--workers", str(workers)])
    assert end.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and "model.pt" in last and "SHA-256" in last


def test_workers_that_cannot_start_end_the_service(tmp_path: Path) -> None:
    """What the supervisor does not see, here that the model does not open, ends it too, rather than being tried for ever."""
    bundle = made_onnx_bundle(tmp_path / "bundle")
    (bundle / "model.onnx").write_bytes(b"no graph")
    write_description(bundle, json.loads((bundle / "model.json").read_text(encoding="utf-8")))
    ended = subprocess.run(
        [sys.executable, "-m", "serve", "--model", str(bundle), "--backend", "onnx", "--port", "0", "--workers", "2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == 1 and "does not open with onnxruntime" in ended.stderr and "Traceback" not in ended.stderr


def test_an_address_that_is_taken_is_named(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from serve.listener import bind

    taken = bind("127.0.0.1", 0)
    taken.listen()
    with taken, pytest.raises(SystemExit) as end:
        main(["--model", str(bundle), "--port", str(taken.getsockname()[1])])
    assert end.value.code == 1 and "Cannot listen at 127.0.0.1:" in capsys.readouterr().err


def test_settings_come_from_both_places_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_MODEL", "there")
    monkeypatch.setenv("AUSCULT_MAX_FILES", "3")
    monkeypatch.setenv("AUSCULT_PORT", "99")
    settings = parse(["--max-files", "5", "--decode_timeout_s=2.5"])
    assert (str(settings.model), settings.port, settings.max_files, settings.decode_timeout_s) == ("there", 99, 5, 2.5)


@pytest.mark.parametrize(
    ("args", "environment", "said"),
    [
        ([], {}, "--model (AUSCULT_MODEL)"),
        (["--model", "x", "--max_seconds", "-1"], {}, "--max_seconds (AUSCULT_MAX_SECONDS)"),
        (["--model", "x", "--backend", "tensorflow"], {}, "--backend"),
        (["--model", "x", "--max_second", "1", "--nonsense", "1"], {}, "nonsense"),
        (["--model", "x"], {"AUSCULT_TOKEN": " "}, "--token (AUSCULT_TOKEN): is empty"),
        (["--model", "x"], {"AUSCULT_WORKERS": "many"}, "--workers (AUSCULT_WORKERS)"),
    ],
)
def test_a_wrong_setting_is_named(
    args: list[str], environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        parse(args)
    assert end.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for name, field in Settings.model_fields.items():
        assert f"--{name}" in text and field.description, name
        words = " ".join(text.split())
        assert " ".join(str(field.description).split()[:3]) in words.replace("- ", "-"), name

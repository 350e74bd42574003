"""What is refused, by which reason; and that a refusal is always one of the table's, never a fault."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.errors import REASONS
from tests.serve.made_bundle import made_bundle, made_clip
from tests.serve.serving import GOOD, Serving, serving, wav

FLAC = wav(made_clip(0.5, 4000, 3), 4000, kind="FLAC")


def reason(response: httpx.Response) -> str:
    """Of a refusal in the form that all have."""
    body = response.json()
    error = body["error"]
    assert body.keys() == {"error", "request_id"} and error.keys() == {"code", "reason", "message"}
    assert error["code"] == response.status_code == REASONS[error["reason"]].status
    assert response.headers["x-request-id"] == body["request_id"]
    assert error["message"].endswith(".") and "Traceback" not in error["message"]
    assert ("retry-after" in response.headers) == REASONS[error["reason"]].retry
    return error["reason"]


def header(rate: int = 4000, channels: int = 1, data_bytes: int = 8000, bits: int = 16) -> bytes:
    """The beginning of a WAV that claims what is given."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * frame) & 0xFFFFFFFF, frame & 0xFFFF, bits)
    sizes = struct.pack("<4sI", b"data", data_bytes)
    return b"RIFF" + struct.pack("<I", 36 + data_bytes & 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + form + sizes


def flac_of_length(samples: int) -> bytes:
    """A whole FLAC whose header claims another length (36 bits of STREAMINFO; RFC 9639, section 8.2)."""
    kept = int.from_bytes(FLAC[18:26], "big") & ~(2**36 - 1)
    return FLAC[:18] + (kept | samples).to_bytes(8, "big") + FLAC[26:]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not_audio"),
        (b"not audio at all", "not_audio"),
        (b"RIFF", "not_audio"),
        (b"OggS" + bytes(100), "not_audio"),
        (b"fLaC" + bytes(100), "not_audio"),
        (header(rate=0) + bytes(8000), ("unsupported_rate", "not_audio")),
        (header(rate=2**31 - 1) + bytes(8000), "unsupported_rate"),
        (header(rate=500) + bytes(8000), "unsupported_rate"),
        (header(rate=44101, data_bytes=88_202) + bytes(88_202), "unsupported_rate"),
        (header(channels=1000) + bytes(8000), ("too_many_channels", "not_audio")),
        (header(channels=9) + bytes(9000), "too_many_channels"),
        (header(channels=0) + bytes(8000), "not_audio"),
        (wav(np.zeros(0), 4000), "no_samples"),
        (wav(np.zeros(399), 4000), "too_short"),
        (header(rate=1000, bits=8, data_bytes=601_000) + bytes(601_000), "too_long"),
        (flac_of_length(2**36 - 1), "too_long"),
    ],
)
def test_a_bad_recording_is_refused(service: Serving, content: bytes, expected: str | tuple[str, ...]) -> None:
    response = service.predict(content)
    assert reason(response) in ((expected,) if isinstance(expected, str) else expected)


def test_a_header_that_leaves_its_length_open_is_read_to_its_end(service: Serving) -> None:
    (open_ended,) = service.predict(flac_of_length(0)).json()["results"]
    (whole,) = service.predict(FLAC).json()["results"]
    assert open_ended == whole and whole["duration_s"] == 0.5


def test_a_small_file_of_a_long_silence_is_refused_by_what_it_decodes_to(bundle: Path) -> None:
    bomb = wav(np.zeros(4000 * 300), 4000, kind="FLAC")
    kept = int.from_bytes(bomb[18:26], "big") & ~(2**36 - 1)
    assert len(bomb) < 10_000
    with serving(bundle, max_seconds=60) as service:
        assert reason(service.predict(bomb)) == "too_long"
        assert reason(service.predict(bomb[:18] + kept.to_bytes(8, "big") + bomb[26:])) == "too_long"


def body_of(recordings: Any) -> bytes:
    return json.dumps({"recordings": recordings}).encode()


AUDIO = base64.b64encode(GOOD).decode()


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "application/json", "bad_request"),
        (b"{", "application/json", "bad_request"),
        (b"[" * 100_000, "application/json", "bad_request"),
        (b"\xff\xfe", "application/json", "bad_request"),
        (b"{}", "application/json", "bad_request"),
        (body_of([]), "application/json", "no_files"),
        (body_of([{"audio": "%%%"}]), "application/json", "bad_base64"),
        (body_of([{"audio": "QUJD\u00e9"}]), "application/json", "bad_base64"),
        (body_of([{"audio": 3}]), "application/json", "bad_request"),
        (body_of([{"audio": AUDIO, "name": "x"}]), "application/json", "bad_request"),
        (body_of([{"audio": AUDIO, "metadata": {"age": 3}}]), "application/json", "bad_metadata"),
        (body_of([{"audio": AUDIO}] * 33), "application/json", "too_many_files"),
        (GOOD, "audio/wav", "unsupported_content_type"),
        (GOOD, "", "unsupported_content_type"),
        (b"x", "multipart/form-data", "bad_request"),
        (b"x", "multipart/form-data; boundary=b", "bad_request"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", "no_files"),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n', "multipart/form-data; boundary=b", "bad_request"),
        (b"--b\r\n\r\n1\r\n--b--\r\n", "multipart/form-data; boundary=b", "bad_request"),
    ],
)
def test_a_bad_body_is_refused(service: Serving, content: bytes, kind: str, expected: str) -> None:
    assert reason(service.client.post("/v1/predict", content=content, headers={"content-type": kind})) == expected


def test_a_compressed_body_is_refused(service: Serving) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert reason(service.client.post("/v1/predict", content=b"{}", headers=headers)) == "unsupported_content_type"


def test_too_many_files_are_refused(service: Serving) -> None:
    assert reason(service.predict(*[GOOD] * 33)) == "too_many_files"


def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(bundle: Path) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    with serving(bundle, max_bytes=10_000) as service:
        assert service.predict(GOOD).status_code == 200
        assert reason(service.predict(bytes(11_000))) == "too_many_bytes"
        # A whole part's head first: what is no form may be refused as such before the limit is reached.
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        chunks = (head, *(bytes(1000) for _ in range(11)))
        assert reason(service.client.post("/v1/predict", content=iter(chunks), headers=headers)) == "too_many_bytes"


def test_unknown_addresses_and_methods_have_the_same_form(service: Serving) -> None:
    assert reason(service.client.get("/../../etc/passwd")) == "not_found"
    assert reason(service.client.get("/v1/predict")) == "method_not_allowed"
    before = service.metric('auscult_requests_total{route="other",status="404"}')
    service.client.get("/somewhere/else")
    assert service.metric('auscult_requests_total{route="other",status="404"}') == before + 1


def test_a_bundle_s_own_limits_hold(tmp_path: Path) -> None:
    limits = {"min_s": 0.3, "max_s": 1.0, "min_rate_hz": 4000, "max_rate_hz": 8000}
    with serving(made_bundle(tmp_path / "bundle", limits=limits)) as service:
        assert service.predict(GOOD).status_code == 200
        cases = [(0.2, 4000, "too_short"), (1.5, 4000, "too_long"), (0.5, 2000, "unsupported_rate"), (0.5, 16000, "unsupported_rate")]
        for seconds, rate, expected in cases:
            assert reason(service.predict(wav(made_clip(seconds, rate, 3), rate))) == expected


HOSTILE = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answered_or_refused(response: httpx.Response) -> None:
    if response.status_code == 200:
        json.loads(response.content, parse_constant=pytest.fail)
    else:
        assert reason(response) != "internal" and response.status_code in (400, 413, 415, 422)


@HOSTILE
@given(st.binary(max_size=2000), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", GOOD[:44], GOOD[:20], FLAC[:42], FLAC[:8], header()]))
def test_random_bytes_are_never_a_fault(service: Serving, content: bytes, beginning: bytes) -> None:
    answered_or_refused(service.predict(beginning + content))


@HOSTILE
@given(st.sampled_from([GOOD, FLAC]), st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6), st.data())
def test_mutated_files_are_never_a_fault(service: Serving, content: bytes, changes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    changed = bytearray(content)
    for place, new in changes:
        # Half of them in the header, which is where lies do harm.
        place = place % 48 if place % 2 else place % len(changed)
        changed[place : place + len(new)] = new
    answered_or_refused(service.predict(bytes(changed[: data.draw(st.integers(0, len(changed)))])))


@HOSTILE
@given(st.binary(max_size=500), st.sampled_from(["application/json", "multipart/form-data; boundary=b", "multipart/form-data; charset=x"]))
def test_random_bodies_are_never_a_fault(service: Serving, content: bytes, kind: str) -> None:
    body = content if len(content) % 2 else b"--b\r\nContent-Disposition: form-data; " + content
    answered_or_refused(service.client.post("/v1/predict", content=body, headers={"content-type": kind}))

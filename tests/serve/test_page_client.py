"""What the page asks of a service: within its limits, again where it is busy, and in one sentence where it is none."""

import httpx
import pytest
import streamlit.web.cli
from streamlit import net_util

from serve.errors import StartError
from serve.page.__main__ import main
from serve.page.client import Service, ServiceError, batches
from serve.page.options import parse_services, services_of

TOKEN = "a token of these tests"


def test_no_host_is_asked_for_the_machine_s_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a host was asked")

    monkeypatch.setattr(net_util, "get_external_ip", net_util.get_external_ip)
    monkeypatch.setattr(net_util, "_make_blocking_http_get", asked)
    monkeypatch.setattr(streamlit.web.cli, "main", lambda args, prog_name: net_util.get_external_ip())
    monkeypatch.setenv("AUSCULT_SERVICES", "http://x")
    main(["--host", "0.0.0.0"])


def stub(*responses: httpx.Response) -> Service:
    waiting = list(responses)
    return Service("stub", "http://stub", transport=httpx.MockTransport(lambda request: waiting.pop(0)))


def test_a_busy_service_is_asked_again() -> None:
    busy = httpx.Response(
        503, headers={"Retry-After": "0"}, json={"error": {"code": 503, "reason": "queue_full", "message": "Full."}, "request_id": "1"}
    )
    answer = {"model": "abc", "request_id": "2", "results": [{"index": 0, "status": "ok"}]}
    assert stub(busy, busy, httpx.Response(200, json=answer)).predict([b"x"]).version == "abc"
    with pytest.raises(ServiceError, match="queue_full"):
        stub(busy, busy, busy, busy).predict([b"x"])


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(200, text="<html>"), "does not answer as the service does"),
        (httpx.Response(502, text="<html>"), "status 502"),
        (httpx.Response(200, json={"model": "a", "request_id": "b", "results": []}), "answered 0 of 1"),
        (
            httpx.Response(401, json={"error": {"code": 401, "reason": "unauthorized", "message": "No token."}, "request_id": "b"}),
            "No token",
        ),
    ],
)
def test_what_is_no_service_is_said_in_a_sentence(response: httpx.Response, words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        stub(response).predict([b"x"])


def test_requests_are_within_the_service_s_limits() -> None:
    files = [bytes(n) for n in (10, 2000, 10, 10, 9000, 10)]
    assert [[len(f) for f in batch] for batch in batches(files, {"max_files": 3, "max_bytes": 6000})] == [
        [10, 2000, 10],
        [10],
        [9000],
        [10],
    ]
    assert not list(batches([], {"max_files": 3}))


def test_services_come_from_the_environment() -> None:
    assert parse_services("http://a:1/") == {"model": "http://a:1"}
    assert parse_services("x=http://a:1, y=https://b/c?d=e") == {"x": "http://a:1", "y": "https://b/c?d=e"}
    (default,) = services_of({})
    assert (default.url, default.token) == ("http://127.0.0.1:8000", None)
    assert [service.token for service in services_of({"AUSCULT_SERVICES": "a=http://x,b=http://y", "AUSCULT_TOKEN": "t"})] == ["t", "t"]
    assert TOKEN not in repr(services_of({"AUSCULT_TOKEN": TOKEN}))


@pytest.mark.parametrize("text", ["localhost:8000", "x=ftp://a", "http://a,http://b", "x=http://a,x=http://b", ",", "=http://a"])
def test_a_wrong_service_is_refused_before_the_page_starts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartError):
        parse_services(text)
    with pytest.raises(SystemExit) as end:
        main(["--service", text])
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error: python -m serve.page: --service")

"""Another bundle under load: taken when it verifies, and only for those who may."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.serve.made_bundle import made_bundle
from tests.serve.serving import GOOD, Serving, serving
from tests.serve.test_refusals import reason


def probability(response: httpx.Response) -> tuple[str, float]:
    body = response.json()
    return body["model"], round(body["results"][0]["labels"][1]["probability"], 6)


def test_another_bundle_takes_over_under_load(bundle: Path, other_bundle: Path, tmp_path: Path) -> None:
    """Every answer is that of the version that it names, before, during and after the swap."""
    place = tmp_path / "current"
    place.symlink_to(bundle)
    expected = {}
    for path in (bundle, other_bundle):
        with serving(path) as service:
            version, answer = probability(service.predict(GOOD))
            expected[version] = answer
    token = {"authorization": "Bearer secret"}
    with serving(place, token="secret", max_in_flight=64) as service, ThreadPoolExecutor(4) as clients:
        stop = threading.Event()

        def keep_asking() -> list[tuple[str, float]]:
            seen = []
            while not stop.is_set():
                response = service.predict(GOOD, headers=token)
                assert response.status_code == 200, response.text
                seen.append(probability(response))
            return seen

        running = [clients.submit(keep_asking) for _ in range(4)]
        assert service.client.post("/v1/model", headers=token).json()["outcome"] == "unchanged"
        place.unlink()
        place.symlink_to(other_bundle)
        swapped = service.client.post("/v1/model", headers=token)
        assert swapped.status_code == 200, swapped.text
        version = swapped.json()["version"]
        assert swapped.json()["outcome"] == "swapped" and {version, swapped.json()["previous"]} == set(expected)
        assert probability(service.predict(GOOD, headers=token)) == (version, expected[version])
        stop.set()
        seen = {answer for future in running for answer in future.result()}
        assert seen == set(expected.items()), "an answer was neither model's, or one was never asked"
        assert service.client.get("/v1/model", headers=token).json()["version"] == version
        assert service.metric(f'auscult_model_info{{backend="torch",version="{version}"}}') == 1
        assert service.metric(f'auscult_model_info{{backend="torch",version="{swapped.json()["previous"]}"}}') == 0


def test_a_bundle_that_does_not_verify_is_not_taken(tmp_path: Path) -> None:
    path = made_bundle(tmp_path / "bundle")
    token = {"authorization": "Bearer secret"}
    with serving(path, token="secret") as service:
        before = probability(service.predict(GOOD, headers=token))
        with (path / "model.pt").open("ab") as file:
            file.write(b"x")
        refused = service.client.post("/v1/model", headers=token)
        assert reason(refused) == "bundle_refused" and "SHA-256" in refused.json()["error"]["message"]
        assert probability(service.predict(GOOD, headers=token)) == before
        assert service.metric('auscult_model_swaps_total{outcome="refused"}') == 1


def test_the_token_is_asked_for(bundle: Path) -> None:
    with serving(bundle, token="secret") as service:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}, {"authorization": "Bearer"}):
            refused = service.predict(GOOD, headers=headers)
            assert reason(refused) == "unauthorized" and refused.headers["www-authenticate"] == "Bearer"
            assert reason(service.client.get("/v1/model", headers=headers)) == "unauthorized"
            assert reason(service.client.post("/v1/model", headers=headers)) == "unauthorized"
        assert service.predict(GOOD, headers={"authorization": "bearer secret"}).status_code == 200
        assert [service.client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_without_a_token_nobody_swaps_the_model(service: Serving) -> None:
    assert reason(service.client.post("/v1/model")) == "unauthorized"

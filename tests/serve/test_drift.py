"""Drift: the window's scores and flags against those that the bundle was made with."""

import math
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serve.drift import population_stability_index
from tests.serve.made_bundle import LABELS, made_bundle, made_clip, made_onnx_bundle, reference
from tests.serve.serving import WAIT_S, Serving, serving, until, wav
from tests.serve.test_process import running

USUAL = [wav(made_clip(0.5, 4000, seed), 4000) for seed in range(32)]
LOUD = [wav(2 * made_clip(0.5, 4000, 3 * seed + 2) * (-1) ** seed, 4000) for seed in range(32)]


def test_the_index_is_that_of_its_formula() -> None:
    """8 and 2 against 5 and 5, half a one more in each: (8.5/11 - 1/2) ln(17/11) + (2.5/11 - 1/2) ln(5/11) = 3/11 ln(17/5)."""
    assert population_stability_index([8, 2], [5, 5]) == pytest.approx(3 / 11 * math.log(17 / 5), abs=1e-12)
    assert population_stability_index([8, 2], [5, 5]) == pytest.approx(0.3337569, abs=1e-7)
    assert population_stability_index([5, 5], [5, 5]) == population_stability_index([0, 0], [7, 7]) == 0
    assert math.isfinite(population_stability_index([10, 0], [0, 10]))


def test_the_index_of_larger_windows_nears_the_one_without_a_half_more() -> None:
    shares, known = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.4, 0.2])
    expected = float(((shares - known) * np.log(shares / known)).sum())
    assert population_stability_index((shares * 1e6).tolist(), (known * 1e6).tolist()) == pytest.approx(expected, abs=1e-5)


def probabilities_of(results: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {label: [result["labels"][column]["probability"] for result in results] for column, label in enumerate(LABELS)}


def binned(probabilities: list[float]) -> list[int]:
    return np.histogram(probabilities, np.arange(21) / 20)[0].tolist()


def ask(service: Serving, files: list[bytes], times: int = 7) -> list[dict[str, Any]]:
    """7 times 32 recordings are more than the 200 from which on there is an index."""
    results = []
    for _ in range(times):
        response = service.predict(*files)
        assert response.status_code == 200, response.text
        results += response.json()["results"]
    return results


@pytest.fixture(scope="module")
def referred(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A bundle that was made with recordings like `USUAL`; one in four had its tops cut off."""
    with serving(bundle) as service:
        usual = probabilities_of(ask(service, USUAL))
    counts = {label: binned(values) for label, values in usual.items()}
    return made_bundle(tmp_path_factory.mktemp("drift") / "bundle", reference=reference(counts, {"clipped": 0.25}))


def test_what_is_as_it_was_has_a_small_index_and_what_has_drifted_a_large_one(referred: Path) -> None:
    silent = wav(np.zeros(4000), 4000)
    with serving(referred, drift_window=200) as service:
        psi = {label: f'auscult_score_psi{{label="{label}"}}' for label in LABELS}
        seen = ask(service, USUAL, times=6)
        assert "auscult_score_psi{" not in service.client.get("/metrics").text, "192 recordings are too few to say"
        seen += ask(service, USUAL, times=1)
        version = service.client.get("/v1/model").json()["version"]
        assert service.metric(f'auscult_recent_recordings{{version="{version}"}}') == 200
        assert all(service.metric(row) < 0.1 for row in psi.values())
        # By the formula, from the answers that are in the window.
        recent = probabilities_of(seen[-200:])
        known = {label: binned(values) for label, values in probabilities_of(seen).items()}
        for label, row in psi.items():
            assert service.metric(row) == pytest.approx(population_stability_index(binned(recent[label]), known[label]), abs=1e-9)
        assert service.metric('auscult_flag_share{flag="silent"}') == 0
        assert service.metric('auscult_reference_flag_share{flag="clipped"}') == 0.25

        drifted = ask(service, [*LOUD[:16], *[silent] * 16])
        assert max(service.metric(row) for row in psi.values()) > 0.25
        recent = probabilities_of(drifted[-200:])
        for label, row in psi.items():
            assert service.metric(row) == pytest.approx(population_stability_index(binned(recent[label]), known[label]), abs=1e-9)
        assert service.metric('auscult_flag_share{flag="silent"}') == pytest.approx(
            sum("silent" in result["flags"] for result in drifted[-200:]) / 200
        )

        ask(service, USUAL)
        assert all(service.metric(row) < 0.1 for row in psi.values()), "what left the window still counts"


def test_a_new_bundle_begins_a_window_of_its_own(referred: Path, tmp_path: Path) -> None:
    place = tmp_path / "current"
    place.symlink_to(referred)
    token = {"authorization": "Bearer secret"}
    flat = {label: [10] * 20 for label in LABELS}
    other = made_bundle(tmp_path / "other", seed=1, reference=reference(flat, None))
    with serving(place, token="secret") as service:
        for _ in range(7):
            first = service.predict(*USUAL, headers=token).json()["model"]
        assert 'auscult_score_psi{label="wheeze"}' in service.client.get("/metrics").text
        place.unlink()
        place.symlink_to(other)
        second = service.client.post("/v1/model", headers=token).json()["version"]
        text = service.client.get("/metrics").text
        assert "auscult_score_psi{" not in text and "auscult_reference_flag_share{" not in text
        assert service.metric(f'auscult_recent_recordings{{version="{first}"}}') == 0
        service.predict(*USUAL, headers=token)
        assert service.metric(f'auscult_recent_recordings{{version="{second}"}}') == 32


def test_without_a_reference_there_is_no_index(bundle: Path) -> None:
    with serving(bundle) as service:
        ask(service, USUAL)
        text = service.client.get("/metrics").text
        assert not re.search(r"^auscult_(score_psi|flag_share|reference_flag_share|recent_\w+)\b", text, re.MULTILINE)


def test_several_workers_have_one_index_over_all_their_windows(tmp_path: Path) -> None:
    flat = {label: [10] * 20 for label in LABELS}
    bundle = made_onnx_bundle(tmp_path / "bundle", reference=reference(flat, {"silent": 0.5}))
    with running(tmp_path, "--model", bundle, "--backend", "onnx", "--workers", 2, "--decoders", 1) as service:
        probabilities: dict[str, list[float]] = {label: [] for label in LABELS}

        def post(number: int) -> None:
            # A connection each, so that both workers are asked; and other recordings for each, so that their windows differ.
            files = [("file", ("x", wav(made_clip(0.5, 4000, number + 16 * file) / (1 + number), 4000))) for file in range(20)]
            response = httpx.post(f"{service.client.base_url}/v1/predict", files=files, timeout=WAIT_S)
            for label, values in probabilities_of(response.json()["results"]).items():
                probabilities[label] += values

        def workers() -> Counter[int]:
            return Counter(line["process"] for line in service.lines("request") if line["route"] == "/v1/predict")

        for number in range(12):
            post(number)
        number = 12
        while len(workers()) < 2:
            post(number := number + 1)
            assert number < 60, "one worker answered everything"
        text = service.client.get("/metrics").text
        for label in LABELS:
            (found,) = re.findall(rf'^auscult_score_psi{{label="{label}"}} (\S+)$', text, re.MULTILINE)
            assert float(found) == pytest.approx(population_stability_index(binned(probabilities[label]), flat[label]), abs=1e-9)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.process.poll() is not None)

"""A real scrape of a running service, and every query of the dashboard and of the alerts asked of its answers."""

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from tests.operation.dashboard import alert_queries, dashboard_queries, measured
from tests.operation.prometheus import Prometheus, scraping
from tests.serve.made_bundle import LABELS, made_bundle, made_clip, reference
from tests.serve.serving import Serving, serving, until, wav

FILES = [wav(made_clip(0.5, 4000, seed), 4000) for seed in range(30)]
INTERVAL = "1m"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    flat = {label: [10] * 20 for label in LABELS}
    with serving(made_bundle(tmp_path_factory.mktemp("operation") / "bundle", reference=reference(flat, {"silent": 0.1}))) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(service: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With what a day leaves behind: answers, refusals, flags, a decoder that was killed."""
    with scraping(tmp_path_factory.mktemp("prometheus"), service.url.removeprefix("http://")) as running:
        # A rate needs a row that was there before it grew.
        service.predict(FILES[0])
        service.predict(b"no")
        until(lambda: running.query('auscult_requests_total{route="/v1/predict", status="422"}'))
        for _ in range(8):
            assert service.predict(*FILES, wav(np.zeros(4000), 4000), b"no").status_code == 200
        service.predict(b"no")
        os.kill(service.predictor.decoders.pids[0], signal.SIGKILL)
        until(lambda: running.query("auscult_decoder_restarts_total == 1"))
        until(lambda: running.query('rate(auscult_requests_total{route="/v1/predict", status="422"}[1m]) > 0'))
        until(lambda: set(running.alerts().values()) == {"ok"})
        yield running


@pytest.mark.parametrize(("panel", "query"), dashboard_queries(INTERVAL))
def test_a_query_of_the_dashboard_has_data(prometheus: Prometheus, panel: str, query: str) -> None:
    rows = prometheus.query(query)
    assert rows, f"{panel}: {query}"
    assert any(row["value"][1] != "NaN" for row in rows), f"{panel}: {query}"


@pytest.mark.parametrize(("alert", "query"), alert_queries())
def test_a_query_of_an_alert_runs_and_what_it_measures_is_there(prometheus: Prometheus, alert: str, query: str) -> None:
    prometheus.query(query)
    if alert != "AuscultErrorShare":  # There was no status of 500 or more, and then it is quiet.
        assert prometheus.query(measured(query)), query
    assert prometheus.alerts()[alert] == "ok"


def test_figures_are_those_of_the_service(prometheus: Prometheus, service: Serving) -> None:
    def value(query: str) -> float:
        ((_, number),) = [row["value"] for row in prometheus.query(query)]
        return float(number)

    assert value('up{job="auscult"}') == 1
    assert value('sum(auscult_recordings_total{status="ok"})') == 8 * 30 + 1
    assert value('auscult_errors_total{reason="not_audio"}') == 8 + 2
    assert value('auscult_flag_share{flag="silent"}') == pytest.approx(8 / (8 * 31 + 1))
    for label in LABELS:
        assert value(f'auscult_score_psi{{label="{label}"}}') == service.metric(f'auscult_score_psi{{label="{label}"}}') > 0


def test_a_query_that_does_not_parse_would_be_found(prometheus: Prometheus) -> None:
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.query("rate(auscult_requests_total[1m]")
    assert not prometheus.query("auscult_requests_totals")

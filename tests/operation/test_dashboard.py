"""The dashboard and the alerts as files: they name metrics that the service has, and a data source that is provisioned."""

from pathlib import Path

import yaml

from serve.metrics import Metrics
from tests.operation.dashboard import FOLDER, alert_queries, dashboard, dashboard_queries, measured, metric_names, panels


def known_metrics() -> set[str]:
    known = set()
    for line in Metrics().exposition().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            known |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return known


def test_every_query_names_metrics_of_the_service() -> None:
    for where, query in [*dashboard_queries("1m"), *alert_queries()]:
        names = metric_names(query)
        assert names or query.startswith("up{"), where
        assert names <= known_metrics(), where


def test_a_wrong_name_would_be_found() -> None:
    assert metric_names("rate(auscult_requests_totals[5m]) > 0") - known_metrics() == {"auscult_requests_totals"}
    assert measured("a / b > 0.05") == measured("a / b") == "a / b"


def test_every_metric_of_the_service_is_shown() -> None:
    """A metric that nobody looks at is one too many; those of drift's counts are what its index is made from."""
    shown = {name for _, query in dashboard_queries("1m") for name in metric_names(query)}
    families = {line.split()[2] for line in Metrics().exposition().decode().splitlines() if line.startswith("# TYPE auscult_")}
    families = {name for name in families if not name.endswith("_created") and not name.startswith("auscult_recent_")}
    missing = {name for name in families if not any(metric.startswith(name) for metric in shown)}
    assert missing <= {"auscult_flags_total"}, missing


def test_panels_use_the_provisioned_data_source_and_do_not_overlap() -> None:
    (source,) = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == source["uid"]


def test_grafana_finds_what_compose_puts_into_it() -> None:
    services = yaml.safe_load((FOLDER / "compose.yml").read_text(encoding="utf-8"))["services"]
    mounted = {
        place: Path(FOLDER / file) for file, place, *_ in (v.split(":") for v in services["grafana"]["volumes"]) if file.startswith(".")
    }
    assert all(file.is_file() for file in mounted.values())
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text(encoding="utf-8"))["providers"]
    assert f"{provider['options']['path']}/auscult.json" in mounted
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = prometheus["scrape_configs"]
    ((target,),) = [config["targets"] for config in job["static_configs"]]
    assert target.split(":")[0] in services and prometheus["rule_files"] == ["alerts.yml"]
    assert any(volume.endswith("/etc/prometheus/alerts.yml:ro") for volume in services["prometheus"]["volumes"])

"""The dashboard's queries, and those of the alerts."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "docker" / "service"


def dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "grafana" / "auscult.json").read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries(interval: str) -> list[tuple[str, str]]:
    """Title of a panel and a query of it, with Grafana's variable filled in."""
    return [(panel["title"], target["expr"].replace("$__rate_interval", interval)) for panel in panels() for target in panel["targets"]]


def alert_queries() -> list[tuple[str, str]]:
    """Name of an alert and its query."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [(rule["alert"], rule["expr"]) for rule in group["rules"]]


def measured(query: str) -> str:
    """What a query compares with a number at its end: without the comparison it has a value on a good day too."""
    found = re.fullmatch(r"(.*?)\s*(?:==|>|<)\s*[\d.]+", query, re.DOTALL)
    return found[1] if found else query


def metric_names(query: str) -> set[str]:
    return set(re.findall(r"\bauscult_\w+|\bprocess_\w+", query))

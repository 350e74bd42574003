"""docs/service.md says what the service has: its reasons, settings, metrics, addresses and fields."""

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from pydantic_core import PydanticUndefined

from serve.app import ROUTES
from serve.errors import REASONS
from serve.metrics import Metrics
from serve.schemas import EventAnswer, LabelAnswer, PredictAnswer, RecordingAnswer, RecordingFrames
from serve.settings import Settings
from tests.docs.pages import ROOT, names, tables

PAGE = ROOT / "docs" / "service.md"


def test_the_table_of_reasons_is_the_service_s() -> None:
    (table,) = tables(PAGE, "Refusals")
    assert [tuple(row) for row in table] == [(f"`{name}`", str(r.status), r.meaning) for name, r in REASONS.items()]


def test_the_table_of_settings_is_the_service_s() -> None:
    (table,) = tables(PAGE, "Settings")
    assert [tuple(row) for row in table] == [
        (f"`--{name}`", default(field.default), field.description) for name, field in Settings.model_fields.items()
    ]


def default(value: Any) -> str:
    if value is PydanticUndefined:
        return "needed"
    return "" if value is None else f"`{value}`"


def test_the_table_of_metrics_is_the_service_s() -> None:
    (table,) = tables(PAGE, "Metrics")
    families = {family.name: family for family in text_string_to_metric_families(Metrics().exposition().decode())}
    # Beside each counter and histogram the client writes when it was made.
    ours = {name: family for name, family in families.items() if name.startswith("auscult_") and not name.endswith("_created")}
    found = {row[0].strip("`").removesuffix("_total"): row[2] for row in table}
    assert found == {name: family.documentation.rstrip(".") for name, family in ours.items()}
    counters = {row[0].strip("`") for row in table if row[0].endswith("_total`")}
    assert counters == {f"{name}_total" for name, family in ours.items() if family.type == "counter"}


def test_the_tables_of_answers_are_the_service_s() -> None:
    whole, result, label = tables(PAGE, "Answers")
    for table, model in ((whole, PredictAnswer), (result, RecordingAnswer), (label, LabelAnswer)):
        assert [row[0].strip("`") for row in table] == list(model.model_fields)


def test_the_tables_of_frames_are_the_service_s() -> None:
    result, event = tables(PAGE, "Frames")
    assert names(result) == set(RecordingFrames.model_fields)
    assert [row[0].strip("`") for row in event] == list(EventAnswer.model_fields)


def test_the_table_of_addresses_is_the_service_s() -> None:
    (table,) = tables(PAGE, "Addresses")
    assert {name.split()[1] for name in names(table)} == ROUTES


def test_the_versions_that_it_was_tested_with_are_within_those_it_asks_for() -> None:
    text = Path(PAGE).read_text(encoding="utf-8")
    # The extra ends where a line begins at the margin.
    asked = re.split(r"\n(?=\S)", (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("\nserve =\n")[2])[0]
    for name, lowest in re.findall(r"^\s+([\w-]+)>=([\d.]+)", asked, re.MULTILINE):
        tested = re.search(rf"{name} ([\d.]+\d)", text)
        assert tested and [int(part) for part in tested[1].split(".")] >= [int(part) for part in lowest.split(".")], name

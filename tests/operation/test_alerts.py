"""The rules that wake somebody: `promtool` checks them and runs their unit tests."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, tables

FOLDER = ROOT / "docker" / "service"


def promtool(*args: object) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, which Debian's package 'prometheus' has")
    done = subprocess.run([program, *map(str, args)], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alert_names() -> set[str]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"] for rule in group["rules"]}


def test_the_configuration_and_its_rules_are_valid() -> None:
    assert f"{len(alert_names())} rules found" in promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")


def test_alerts_fire_when_they_should_and_are_quiet_otherwise() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case.get("exp_alerts")}
    quiet = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert fired == quiet == alert_names()


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    (table,) = tables(ROOT / "docs" / "operation.md", "Alerts")
    assert [row[:2] for row in table] == [[f"`{rule['alert']}`", rule["labels"]["severity"]] for rule in group["rules"]]


def test_a_wrong_threshold_would_be_found(tmp_path: Path) -> None:
    for name in ("alerts.yml", "alerts_test.yml"):
        (tmp_path / name).write_text((FOLDER / name).read_text(encoding="utf-8").replace("psi > 0.25", "psi > 2.5"), encoding="utf-8")
    with pytest.raises(AssertionError, match="AuscultScoreDrift"):
        promtool("test", "rules", tmp_path / "alerts_test.yml")

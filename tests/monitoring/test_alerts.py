"""Alerts: Prometheus takes them, they fire and rest as they should, and each names a runbook and metrics that exist."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from stack.report import QuietReporter
from stack.tools import PROMETHEUS, demand
from tests.docs.blocks import ROOT

MONITORING = ROOT / "monitoring"
ALERTS, ALERTS_TEST, PROMETHEUS_CONFIG = (
    MONITORING / name for name in ("alerts.yml", "alerts_test.yml", "prometheus.yml")
)
RUNBOOKS = ROOT / "docs" / "operating" / "runbooks"
METRIC = re.compile(r"\b(?:oncelog|temporal|events|projection)_\w+")
SUFFIX = re.compile(r"_(bucket|count|sum)$")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    demand([PROMETHEUS], QuietReporter())
    argv = ["promtool", *map(str, arguments)]
    return subprocess.run(argv, cwd=MONITORING, capture_output=True, text=True, check=False)


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", ALERTS), ("test", "rules", ALERTS_TEST), ("check", "config", PROMETHEUS_CONFIG)],
    ids=lambda arguments: f"{arguments[0]} {arguments[1]}",
)
def test_prometheus_accepts(arguments: tuple[object, ...]):
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_in_both_directions():
    cases = [case for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"] for case in test["alert_rule_test"]]
    for rule in rules():
        assert {bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]} == {True, False}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert {rule["alert"] for rule in rules()} == {page.stem for page in RUNBOOKS.glob("*.md")}
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/operating/runbooks/{rule['alert']}.md"


def test_metrics_of_alerts_are_documented():
    page = (ROOT / "docs" / "metrics.md").read_text()
    used = {SUFFIX.sub("", name) for rule in rules() for name in METRIC.findall(rule["expr"])}
    assert used
    assert {name for name in used if not re.search(rf"`{name}\b", page)} == set()

"""Dashboards: the committed JSON is made from the code, fits Grafana's page, and asks for metrics that exist."""

import json
import re
from typing import Any

import pytest

from monitoring.dashboards.__main__ import FOLDER, PAGE_WIDTH, dashboard_json
from monitoring.dashboards.pages import PAGES
from monitoring.dashboards.panel import Dashboard
from tests.docs.blocks import ROOT

OURS = re.compile(r"\b(?:oncelog|events|projection|log|stamina)_[a-z_]+\b")
SUFFIX = re.compile(r"_(bucket|count|sum)$")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)


def committed(page: Dashboard) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((FOLDER / f"{page.uid}.json").read_text())
    return parsed


@each_page
def test_committed_json_is_what_the_code_makes(page: Dashboard):
    path = FOLDER / f"{page.uid}.json"
    assert path.read_text() == dashboard_json(page), "run: make dashboards"


def test_no_json_is_left_of_a_page_that_is_gone():
    assert {path.stem for path in FOLDER.glob("*.json")} == {page.uid for page in PAGES}


@each_page
def test_panels_lie_side_by_side_within_the_page(page: Dashboard):
    taken: set[tuple[int, int]] = set()
    for panel in committed(page)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= PAGE_WIDTH, panel["title"]
        taken |= cells


@each_page
def test_metrics_of_dashboards_are_documented(page: Dashboard):
    text = (ROOT / "docs" / "metrics.md").read_text()
    expressions = [query.expression for panel in page.panels for query in panel.queries]
    used = {SUFFIX.sub("", name) for each in expressions for name in OURS.findall(each)}
    assert {name for name in used if not re.search(rf"`{name}\b", text)} == set()


@each_page
def test_runbooks_that_panels_name_exist(page: Dashboard):
    named = {name for panel in page.panels for name in re.findall(r"Runbook (\w+)", panel.about)}
    runbooks = {path.stem for path in (ROOT / "docs" / "operating" / "runbooks").glob("*.md")}
    assert named <= runbooks

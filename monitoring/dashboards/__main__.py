"""Write the JSON of every dashboard, with Grafana's Foundation SDK: ``python -m monitoring.dashboards``."""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

from monitoring.dashboards.pages import PAGES
from monitoring.dashboards.panel import Dashboard, Panel, Row

FOLDER = Path(__file__).parent
TAG = "oncelog"
#: The reader of a page chooses the Prometheus; where there is one, it is that.
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
PAGE_WIDTH, NUMBER_WIDTH, SERIES_WIDTH, HEIGHT = 24, 4, 8, 8


def dashboard_json(page: Dashboard) -> str:
    """Return a dashboard as Grafana reads it."""
    built = (
        build.Dashboard(page.title)
        .uid(page.uid)
        .description(page.about)
        .tags([TAG])
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .link(build.DashboardLink("Oncelog").tags([TAG]).type(DashboardLinkType.DASHBOARDS).as_dropdown(True))
    )
    for row in page.rows:
        built = built.with_row(build.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel, _width(panel, row)))
    return json.dumps(_numbered(json.loads(json.dumps(built.build(), cls=JSONEncoder))), indent=2) + "\n"


def _width(panel: Panel, row: Row) -> int:
    """Return the width with which a row of up to four panels fills the page."""
    if panel.number:
        return NUMBER_WIDTH
    numbers = sum(other.number for other in row.panels)
    series = len(row.panels) - numbers
    return (PAGE_WIDTH - numbers * NUMBER_WIDTH) // series if series <= 4 else SERIES_WIDTH


def _panel(panel: Panel, width: int) -> Any:
    shown: Any = stat.Panel() if panel.number else timeseries.Panel()
    shown = (
        shown.title(panel.title)
        .description(_about(panel))
        .datasource(SOURCE)
        .unit(panel.unit)
        .height(HEIGHT)
        .span(width)
    )
    if panel.only_in is not None:
        shown = shown.no_value("none")
    if panel.number:
        shown = shown.color_mode(BigValueColorMode.BACKGROUND).thresholds(_thresholds(panel))
        shown = shown.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        shown = shown.color_scheme(build.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    else:
        shown = shown.min(0)
    for index, query in enumerate(panel.queries):
        asked = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + index))
        shown = shown.with_target(asked.instant() if panel.number else asked.range())
    return shown


def _about(panel: Panel) -> str:
    return panel.about if panel.only_in is None else f"{panel.about} There is data only after {panel.only_in}."


def _thresholds(panel: Panel) -> Any:
    """Return green, and red where the panel says so."""
    steps = [Threshold(value=None, color="green")]
    if panel.red_from is not None:
        steps.append(Threshold(value=panel.red_from, color="red"))
    if panel.red_below is not None:
        steps = [Threshold(value=None, color="red"), Threshold(value=panel.red_below, color="green")]
    return build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _numbered(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return the dashboard with an ID for every panel, which addresses of single panels are made of."""
    for number, panel in enumerate(dashboard["panels"], 1):
        panel["id"] = number
    return dashboard


def main() -> None:
    """Write all of them beside this file."""
    for page in PAGES:
        (FOLDER / f"{page.uid}.json").write_text(dashboard_json(page))


if __name__ == "__main__":
    main()

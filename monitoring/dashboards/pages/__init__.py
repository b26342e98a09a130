"""The four pages, a module each."""

from monitoring.dashboards.pages.glance import GLANCE
from monitoring.dashboards.pages.pipeline import PIPELINE
from monitoring.dashboards.pages.projector import PROJECTOR
from monitoring.dashboards.pages.temporal import TEMPORAL

PAGES = (GLANCE, PIPELINE, PROJECTOR, TEMPORAL)

__all__ = ["PAGES"]

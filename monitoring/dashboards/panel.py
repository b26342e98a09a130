"""The parts of a dashboard, as plain data: queries, and how their answers are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Grafana's name of a unit."""

    COUNT = "short"
    PER_SECOND = "cps"
    SECONDS = "s"
    MILLISECONDS = "ms"
    SHARE = "percentunit"


@dataclass(frozen=True, kw_only=True)
class Query:
    """An expression in PromQL. ``legend``: the name of each series, labels in double braces."""

    expression: str
    legend: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One question and its answer."""

    title: str
    about: str
    """The meaning of the figure, and the first thing to do about a bad one."""
    queries: tuple[Query, ...]
    unit: Unit
    only_in: str | None = None
    """The event without which there is no data, such as an outage; None for a panel that always has some."""
    number: bool = False
    """Whether the newest value is shown alone, as a number."""
    red_from: float | None = None
    """The value from which on a number is red."""
    red_below: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One page. ``uid``: its address in Grafana, and the name of its file."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in their order on the page."""
        return tuple(panel for row in self.rows for panel in row.panels)


#: The range of rates: Grafana puts one in that spans several scrapes.
INTERVAL = "$__rate_interval"

#: Programs of others that use Temporal's SDK report the same ``temporal_`` names to a Prometheus that is shared.
OUR_WORKERS = '{job="oncelog-worker"}'


def rate(counter: str, *by: str) -> str:
    """Return the increase per second, summed by the labels, or of all series where there is none.

    ``counter``: with a selector in braces, if it has one.
    """
    summed = f"sum by ({', '.join(by)}) " if by else "sum"
    return f"{summed}(rate({counter}[{INTERVAL}]))"


def quantile(share: float, histogram: str, *by: str, of: str = "") -> str:
    """Return a quantile of what a histogram observed, by the labels. ``of``: a selector in braces."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket{of}', 'le', *by)})"


def quantiles(histogram: str, shares: Sequence[float] = (0.5, 0.95, 0.99), *, of: str = "") -> tuple[Query, ...]:
    """Return a query for each of these quantiles. ``of``: a selector in braces."""
    return tuple(
        Query(expression=quantile(share, histogram, of=of), legend=f"{share:.0%} take less") for share in shares
    )


def single(expression: str, legend: str) -> tuple[Query, ...]:
    """Return one query."""
    return (Query(expression=expression, legend=legend),)

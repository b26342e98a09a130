"""``oncelog aggregates``: the aggregates of one's own that this program knows, and whether they keep their contract."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report_each, reported
from oncelog.cli.terminal import errors, text_line

if TYPE_CHECKING:
    from oncelog.domain.aggregates import Aggregate

app = typer.Typer(
    name="aggregates",
    help="Aggregates of one's own: list, check.",
    no_args_is_help=True,
)

Samples = Annotated[
    Path | None,
    typer.Option(help="Folder of committed samples: AGGREGATE/EVENT_TYPE/VERSION.json, the data of an event each."),
]
Record = Annotated[bool, typer.Option(help="Write a sample of each newest version that has none.")]


@app.command("list")
@reported
async def list_() -> None:
    """Show the aggregates that this program has loaded, with their commands and events."""
    from oncelog.domain.aggregates import load_aggregates

    aggregates = list(load_aggregates().aggregates.values())
    report_each(map(_fields, aggregates), lambda: _table(aggregates))


@app.command()
@reported
async def check(samples: Samples = None, record: Record = False) -> Exit:
    """Hold each aggregate to its contract: pure, JSON, every stored version readable; exit code 1 if one is broken."""
    from oncelog.domain.aggregates import load_aggregates
    from oncelog.domain.aggregates.contract import check_contract, newest_samples, record_samples

    reports = []
    for aggregate in load_aggregates().aggregates.values():
        folder = samples / aggregate.name if samples else None
        report = check_contract(aggregate, samples=None if record else folder)
        if record and folder:
            for path in record_samples(aggregate, folder, report.made):
                errors.print(f"{path}: recorded")
            for path in newest_samples(aggregate, folder).values():
                if not path.exists():
                    errors.print(f"{path}: not recorded, no command that was tried made one; write it by hand")
        reports.append({"aggregate": aggregate.name, "streams": report.streams, "problems": report.problems})
    report_each(reports, lambda: Group(*(text_line(line) for report in reports for line in _lines(report))))
    if not reports:
        errors.print("no aggregate is registered: name them in ONCELOG_AGGREGATES, or install their package")
    return Exit.FINDINGS if any(report["problems"] for report in reports) or not reports else Exit.FINE


def _lines(report: dict[str, Any]) -> list[str]:
    verdict = "keeps its contract" if not report["problems"] else "breaks its contract"
    return [f"{report['aggregate']}: {verdict}, {report['streams']} streams tried", *report["problems"]]


def _fields(aggregate: "Aggregate[Any]") -> dict[str, Any]:
    return {
        "aggregate": aggregate.name,
        "package": aggregate.package,
        "state_version": aggregate.state_version,
        "unique": list(aggregate.constraints),
        "commands": [model.type_name for model in aggregate.commands],
        "events": {name: str(versions.newest) for name, versions in aggregate.versions.items()},
    }


def _table(aggregates: "list[Aggregate[Any]]") -> Table:
    table = Table("aggregate", "package", "commands", "events", box=None)
    for aggregate in aggregates:
        fields = _fields(aggregate)
        events = ", ".join(f"{name} {version}" for name, version in fields["events"].items())
        table.add_row(aggregate.name, aggregate.package, ", ".join(fields["commands"]), events)
    return table

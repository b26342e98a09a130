"""``oncelog list``: the databases and classes that there are."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report_each, reported
from oncelog.cli.terminal import errors, text_line


@reported
async def list_(
    database: Annotated[str | None, typer.Argument(metavar="[DB]", help="Only this database.")] = None,
) -> Exit:
    """List databases and classes with their definition's version and the number of their instances."""
    from oncelog import Oncelog
    from oncelog.domain.identifiers import check_name

    if database is not None:
        check_name(database, "database")
    async with Oncelog.connect() as oncelog:
        entries = await oncelog.reader.inventory.entries(database)

    def view() -> Table:
        table = Table("class", "definition", box=None, pad_edge=False)
        table.add_column("instances", justify="right")
        for each in entries:
            version = (each.version or "undefined") + (", retired" if each.retired else "")
            count = "unknown" if each.instances is None else f"{each.instances:,}"
            table.add_row(text_line(f"{each.db_name}/{each.class_id}"), text_line(version), count)
        return table

    report_each(map(asdict, entries), lambda: view() if entries else None)
    for each in entries:
        if each.problem:
            errors.print(f"{each.db_name}/{each.class_id}: {each.problem}")
    if not entries:
        errors.print(f"there is no class{f' in {database}' if database else ''} yet")
    return Exit.FINE if entries else Exit.FINDINGS

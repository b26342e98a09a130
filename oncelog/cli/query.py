"""Questions to the read side: search, and the graph."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from oncelog.cli.exits import Exit
from oncelog.cli.options import Class, Deadline, Instance, Tokens
from oncelog.cli.reporting import for_people, report, report_each, reported
from oncelog.cli.terminal import errors, json_text, text_line

if TYPE_CHECKING:
    from oncelog import AggregateId, Document
    from oncelog.ports import SearchPage
    from oncelog.query.hops import Answer

DATA_CHARACTERS_MAX = 120


@reported
async def search(
    target: Class,
    words: Annotated[list[str] | None, typer.Argument(help="All must be found; lam* finds what begins so.")] = None,
    *,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            help="/path=VALUE in the data; VALUE is JSON, or else text. Or /path>=NUMBER, with <, <=, >.",
        ),
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option(metavar="[-]/PATH", help="In the order of values there, '-' for descending; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="How many at a time; 0 only counts.")] = 20,
    cursor: Annotated[str, typer.Option(help="Where the page before ended.")] = "",
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
) -> Exit:
    """Find instances of a class by their content."""
    from oncelog import Oncelog, Search
    from oncelog.cli.commands import merged, parse_class
    from oncelog.cli.filters import parse_where

    question = Search(*parse_class(target), " ".join(words or ()), parse_where(where or ()), cursor, limit, sort or ())
    async with Oncelog.connect() as oncelog:
        page = await oncelog.reader.search(question, token=merged(tokens), deadline_s=deadline_s)
    rows = [dict(document.body) for document in page.documents]
    report_each([*rows, {"page": _page_fields(page)}], lambda: _page_view(page))
    return Exit.FINE if page.total else Exit.FINDINGS


@reported
async def graph(
    start: Instance,
    hops: Annotated[
        list[str],
        typer.Argument(
            metavar="HOP...",
            help="A predicate or an inverse: 'part_of', 'airports'; back by a predicate: '^part_of'; of a class: "
            "'airports:Airport'; filtered: 'airports\\[/feet>=2000]'.",  # a bracket would begin markup here
        ),
    ],
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many ends at most.")] = 20,
    after: Annotated[str, typer.Option(help="Only ends above this aggregate ID: the next page.")] = "",
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
) -> Exit:
    """Follow relationships from an instance, hop by hop, and show where they lead."""
    from oncelog import Oncelog
    from oncelog.cli.commands import merged, parse_aggregate
    from oncelog.cli.filters import parse_hop

    parsed = [parse_hop(text) for text in hops]
    async with Oncelog.connect() as oncelog:
        answer = await oncelog.reader.walk(
            [parse_aggregate(start)], parsed, ends_max=limit, after=after, token=merged(tokens), deadline_s=deadline_s
        )
    report_each([*_paths_fields(answer), {"answer": _remarks_fields(answer)}], lambda: _paths_view(answer))
    return _end(answer)


@reported
async def path(
    start: Instance,
    end: Instance,
    *,
    via: Annotated[
        list[str] | None, typer.Option(help="Follow only this, named as for a hop; may be repeated.")
    ] = None,
    both_ways: Annotated[bool, typer.Option("--both-ways", help="Follow them against their direction, too.")] = False,
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
) -> Exit:
    """Find a shortest way from one instance to another along their relationships."""
    from oncelog import Oncelog
    from oncelog.cli.commands import merged, parse_aggregate
    from oncelog.query.graph import LENGTH_MAX

    async with Oncelog.connect() as oncelog:
        answer = await oncelog.reader.shortest_path(
            parse_aggregate(start),
            parse_aggregate(end),
            names=via or (),
            both_ways=both_ways,
            token=merged(tokens),
            deadline_s=deadline_s,
        )
    none: dict[str, Any] = {"path": None, "documents": {}}
    report(next(_paths_fields(answer), none) | _remarks_fields(answer), lambda: _paths_view(answer))
    if not answer.paths and for_people():
        errors.print(f"no way from {start} to {end} along at most {LENGTH_MAX} relationships")
    return _end(answer)


def _end(answer: "Answer") -> Exit:
    for text in remarks(answer):
        errors.print(text)
    return Exit.FINE if answer.paths else Exit.FINDINGS


def _paths_fields(answer: "Answer") -> Iterator[dict[str, Any]]:
    """Yield each path, with the documents on it, as JSON."""
    for steps in answer.paths:
        documents = {str(each): answer.documents[each].body for each in steps if each in answer.documents}
        yield {"path": [str(each) for each in steps], "documents": documents}


def _remarks_fields(answer: "Answer") -> dict[str, Any]:
    """Return as JSON all missing and uneven instances, and whether the answer is cut."""
    return {
        "cut": answer.cut,
        "dangling": [str(each) for each in answer.dangling],
        "undocumented": [str(each) for each in answer.undocumented],
        "uneven": {
            str(each): {"graph": node, "document": document} for each, (node, document) in answer.uneven.items()
        },
    }


def _page_fields(page: "SearchPage") -> dict[str, Any]:
    """Return the counts and the cursor of a page as JSON; ``cursor``: null after the last page."""
    return {"count": len(page.documents), "total": page.total, "cursor": page.cursor or None}


def _page_view(page: "SearchPage") -> Group | Text:
    if not page.documents:
        return text_line(f"{page.total} in all", "dim")
    table = Table("instance", "version", "data", box=None, pad_edge=False)
    for document in page.documents:
        table.add_row(
            text_line(document.aggregate_id.instance_id), str(document.sequence_number), text_line(_data_line(document))
        )
    rest = f"; the next page: --cursor {page.cursor}" if page.cursor else ""
    return Group(table, Text(), text_line(f"{len(page.documents)} of {page.total}{rest}", "dim"))


def _paths_view(answer: "Answer") -> Table | None:
    if not answer.paths:
        return None
    table = Table("end", "by way of", "data", box=None, pad_edge=False)
    for steps in answer.paths:
        *before, end = steps
        document = answer.documents.get(end)
        table.add_row(
            text_line(_short(end)),
            text_line(" → ".join(_short(each) for each in before)),
            text_line(_data_line(document) if document else "no document"),
        )
    return table


def remarks(answer: "Answer") -> list[str]:
    """Return lines about a cut answer, and about missing and uneven instances."""
    found: list[str] = []
    if answer.cut:
        found.append("there is more: raise --limit, go on with --after the last end, or filter")
    for title, places in (
        ("not in the graph", answer.dangling),
        ("in the graph without a document", answer.undocumented),
    ):
        if places:
            shown = ", ".join(map(str, places[:5]))
            found.append(f"{title}: {shown}" + (f" and {len(places) - 5} more" if len(places) > 5 else ""))
    uneven: Mapping[AggregateId, tuple[int, int]] = answer.uneven
    found += [
        f"{each}: the graph is at version {node}, the document at {document}"
        for each, (node, document) in list(uneven.items())[:5]
    ]
    return found


def _short(aggregate_id: "AggregateId") -> str:
    return f"{aggregate_id.class_id}/{aggregate_id.instance_key}"


def _data_line(document: "Document") -> str:
    data: Any = document.body["data"]
    text = json_text(data)
    return text if len(text) <= DATA_CHARACTERS_MAX else text[: DATA_CHARACTERS_MAX - 1] + "…"

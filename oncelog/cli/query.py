"""Questions to the read side: search, the graph, and how things were."""

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from oncelog.cli import show
from oncelog.cli.commands import parse_aggregate, parse_target
from oncelog.cli.exits import Exit, explained
from oncelog.cli.terminal import errors, json_text, text_line
from oncelog.client.client import Oncelog
from oncelog.domain.canonical import parse_json
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Range, Scalar, Search
from oncelog.domain.tokens import merge_tokens
from oncelog.errors import InputInvalid
from oncelog.ports import Document, SearchPage
from oncelog.query.graph import LENGTH_MAX, Answer, Hop

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Tokens = Annotated[
    list[str] | None, typer.Option("--token", help="A consistency token: show me at least this; may be repeated.")
]
Deadline = Annotated[float, typer.Option(min=0, help="How long to wait for the token.")]
Instance = Annotated[str, typer.Argument(metavar="DB/CLASS/INSTANCE", help="Such as shop/Product/p1.")]

_COMPARED = re.compile(r"(?P<pointer>/.*?)(?P<operator>>=|<=|[<>=])(?P<value>.*)", re.DOTALL)
_BOUNDS = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}
#: Filters of a hop are parted by a comma before a pointer; in a value that holds one, JSON's quotes keep it together.
_FILTER = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,]|,(?!/))+')
_HOP = re.compile(r"(?P<inward>\^?)(?P<name>[A-Za-z][\w-]*)(:(?P<class_id>[A-Za-z][\w-]*))?(\[(?P<where>.*)\])?")
DATA_CHARACTERS_MAX = 120


@app.command()
def search(
    target: Annotated[str, typer.Argument(metavar="DB/CLASS", help="Which class, such as shop/Product.")],
    words: Annotated[list[str] | None, typer.Argument(help="All must be found; lam* finds what begins so.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", help="/path=VALUE in the data; VALUE is JSON, or else text.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at a time.")] = 20,
    cursor: Annotated[str, typer.Option(help="Where the page before ended.")] = "",
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
    as_json: AsJson = False,
) -> None:
    """Find instances of a class by what they hold."""
    with explained(as_json=as_json):
        db_name, class_id, instance_id = parse_target(target)
        if instance_id is not None:
            raise InputInvalid(f"{target!r}: expected DB/CLASS; for one instance, use oncelog get")
        question = Search(db_name, class_id, " ".join(words or ()), parse_where(where or ()), cursor, limit)
        page = asyncio.run(_search(question, token=merged(tokens), deadline_s=deadline_s))
        if as_json:
            for document in page.documents:
                show.print_json(dict(document.body))
            show.print_json({"page": _page_fields(page)})
        else:
            show.output.print(_page_view(page))
        sys.exit(Exit.FINE if page.documents else Exit.FINDINGS)


@app.command()
def graph(
    start: Instance,
    hops: Annotated[
        list[str],
        typer.Argument(
            metavar="HOP...",
            help="A predicate or an inverse: 'part_of', 'airports'; back by a predicate: '^part_of'; of a class: "
            "'airports:Airport'; filtered: 'airports\\[/feet>=2000]'.",  # a bracket would begin markup here
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many ends at most.")] = 20,
    after: Annotated[str, typer.Option(help="Only ends above this aggregate ID: the next page.")] = "",
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
    as_json: AsJson = False,
) -> None:
    """Follow relationships from an instance, hop by hop, and show where they lead."""
    with explained(as_json=as_json):
        parsed = [parse_hop(text) for text in hops]
        answer = asyncio.run(
            _walk(parse_aggregate(start), parsed, limit=limit, after=after, token=merged(tokens), deadline_s=deadline_s)
        )
        if as_json:
            for fields in _paths_fields(answer):
                show.print_json(fields)
            show.print_json({"answer": _remarks_fields(answer)})
        _show_answer(answer, as_json=as_json)


@app.command()
def path(
    start: Instance,
    end: Instance,
    via: Annotated[
        list[str] | None, typer.Option(help="Follow only this, named as for a hop; may be repeated.")
    ] = None,
    both_ways: Annotated[bool, typer.Option("--both-ways", help="Follow them against their direction, too.")] = False,
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
    as_json: AsJson = False,
) -> None:
    """Find a shortest way from one instance to another along their relationships."""
    with explained(as_json=as_json):
        ends = parse_aggregate(start), parse_aggregate(end)
        answer = asyncio.run(_path(ends, via or (), both_ways=both_ways, token=merged(tokens), deadline_s=deadline_s))
        if as_json:
            none: dict[str, Any] = {"path": None, "documents": {}}
            show.print_json(next(_paths_fields(answer), none) | _remarks_fields(answer))
        elif not answer.paths:
            errors.print(f"no way from {start} to {end} along at most {LENGTH_MAX} relationships")
        _show_answer(answer, as_json=as_json)


def merged(tokens: Sequence[str] | None) -> str | None:
    """Return one token for all that were given, None for none; raises TokenInvalid, InputInvalid."""
    return merge_tokens(tokens) if tokens else None


def parse_where(texts: Sequence[str]) -> dict[str, Scalar]:
    """Return filters of ``/path=VALUE``; raises InputInvalid."""
    found: dict[str, Scalar] = {}
    for text in texts:
        pointer, equals, value = text.partition("=")
        if not equals or not pointer.startswith("/"):
            raise InputInvalid(f"{text!r}: expected /path=VALUE, such as /name=Lamp or /price=10")
        found[pointer] = _scalar(value, text)
    return found


def parse_hop(text: str) -> Hop:
    """Return the hop of ``[^]NAME[:CLASS][[/path=VALUE,...]]``; raises InputInvalid."""
    match = _HOP.fullmatch(text)
    if match is None:
        raise InputInvalid(
            f"hop {text!r}: expected NAME, ^PREDICATE, or with class and filters NAME:CLASS[/path=VALUE,/path>=NUMBER]"
        )
    where = _filters(_FILTER.findall(match["where"])) if match["where"] else {}
    return Hop(match["name"], inward=bool(match["inward"]), class_id=match["class_id"], where=where)


def _filters(texts: Sequence[str]) -> dict[str, Scalar | Range]:
    """Return filters of ``/path=VALUE`` and ``/path>=NUMBER``; bounds of one path together are a range."""
    found: dict[str, Scalar | Range] = {}
    for text in texts:
        match = _COMPARED.fullmatch(text)
        if match is None or match["operator"] == "=":
            found |= parse_where([text])
            continue
        bound = _scalar(match["value"], text)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise InputInvalid(f"{text!r}: expected a number after {match['operator']}, found {match['value']!r}")
        before = found.get(match["pointer"])
        known = before if isinstance(before, Range) else Range()
        found[match["pointer"]] = replace(known, **{_BOUNDS[match["operator"]]: bound})
    return found


def parse_as_of(text: str) -> int | datetime:
    """Return a version or a time, as ``--as-of`` takes them; raises InputInvalid."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputInvalid(f"--as-of {text!r}: expected a version, or a time such as 2026-01-31T12:00:00Z") from error


async def _search(question: Search, *, token: str | None, deadline_s: float) -> SearchPage:
    async with Oncelog.connect() as oncelog:
        return await oncelog.reader.search(question, token=token, deadline_s=deadline_s)


async def _walk(
    start: AggregateId, hops: Sequence[Hop], *, limit: int, after: str, token: str | None, deadline_s: float
) -> Answer:
    async with Oncelog.connect() as oncelog:
        return await oncelog.reader.walk([start], hops, ends_max=limit, after=after, token=token, deadline_s=deadline_s)


async def _path(
    ends: tuple[AggregateId, AggregateId],
    via: Sequence[str],
    *,
    both_ways: bool,
    token: str | None,
    deadline_s: float,
) -> Answer:
    async with Oncelog.connect() as oncelog:
        return await oncelog.reader.shortest_path(
            *ends, names=via, both_ways=both_ways, token=token, deadline_s=deadline_s
        )


def _scalar(text: str, where: str) -> Scalar:
    try:
        value = parse_json(text)
    except InputInvalid:
        return text
    if isinstance(value, dict | list):
        raise InputInvalid(f"{where!r}: expected a text, a number, true, false or null, found {text}")
    found: Scalar = value
    return found


def _show_answer(answer: Answer, *, as_json: bool) -> None:
    if not as_json and answer.paths:
        show.output.print(_paths_view(answer))
    for text in remarks(answer):
        errors.print(text)
    sys.exit(Exit.FINE if answer.paths else Exit.FINDINGS)


def _paths_fields(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield each path, with the documents on it, as JSON."""
    for steps in answer.paths:
        documents = {str(each): answer.documents[each].body for each in steps if each in answer.documents}
        yield {"path": [str(each) for each in steps], "documents": documents}


def _remarks_fields(answer: Answer) -> dict[str, Any]:
    """Return as JSON what is missing or uneven, all of it."""
    return {
        "cut": answer.cut,
        "dangling": [str(each) for each in answer.dangling],
        "undocumented": [str(each) for each in answer.undocumented],
        "uneven": {
            str(each): {"graph": node, "document": document} for each, (node, document) in answer.uneven.items()
        },
    }


def _page_fields(page: SearchPage) -> dict[str, Any]:
    """Return what is to be known of a page as JSON; ``cursor``: null after the last one."""
    return {"count": len(page.documents), "total": page.total, "cursor": page.cursor or None}


def _page_view(page: SearchPage) -> Group:
    table = Table("instance", "version", "data", box=None, pad_edge=False)
    for document in page.documents:
        table.add_row(
            text_line(document.aggregate_id.instance_id), str(document.sequence_number), text_line(_data_line(document))
        )
    rest = f"; the next page: --cursor {page.cursor}" if page.cursor else ""
    return Group(table, Text(), text_line(f"{len(page.documents)} of {page.total}{rest}", "dim"))


def _paths_view(answer: Answer) -> Table:
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


def remarks(answer: Answer) -> list[str]:
    """Say what is missing or uneven, in a line each."""
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


def _short(aggregate_id: AggregateId) -> str:
    return f"{aggregate_id.class_id}/{aggregate_id.instance_key}"


def _data_line(document: Document) -> str:
    data: Any = document.body["data"]
    text = json_text(data)
    return text if len(text) <= DATA_CHARACTERS_MAX else text[: DATA_CHARACTERS_MAX - 1] + "…"

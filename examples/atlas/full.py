"""Bulk commands on real input: all of ISO 3166 and the world's airports, tens of thousands of facts, and questions.

In a database of its own, whose classes are defined before the data comes, so that the graph has its edges at once.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from rich.json import JSON
from rich.rule import Rule
from rich.text import Text

from examples.atlas.classes import AIRPORT, AIRPORTS_IN_FEET, COUNTRIES, COUNTRY, SUBDIVISION, SUBDIVISIONS
from examples.atlas.data import (
    OUTSIDE,
    OUTSIDE_REMARK,
    SHOWN,
    WORLD,
    Load,
    airport_records,
    airports,
    colliding_command,
    countries,
    definition_command,
    placed_text,
    subdivisions,
)
from examples.atlas.farewell import print_farewell, print_other_release, shell_prefix
from examples.atlas.questions import Answered, Asking, Questions
from examples.programs import running_worker
from oncelog import console
from oncelog.client.bulk import Bulks, BulkType, spooled
from oncelog.client.client import Oncelog
from oncelog.client.many_commands import submit_all
from oncelog.console import Exit, errors, exit_of, followed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import RejectionCode
from oncelog.errors import CommandFailed, CommandUnknown
from oncelog.ports import Document
from oncelog.settings import Settings

LINES_SHOWN = 3
ROWS_SHOWN = 12

#: The final definition of each class.
DEFINITIONS: Mapping[str, Mapping[str, Any]] = {
    COUNTRY: COUNTRIES,
    SUBDIVISION: SUBDIVISIONS,
    AIRPORT: {name: value for name, value in AIRPORTS_IN_FEET.items() if name != "migration"},
}


@dataclass(frozen=True)
class _Loaded:
    """One load at its end. ``before``: whether its command had come to its end before.

    ``prepared_s``: how long its items were checked and uploaded; ``took_s``: how long the command took;
    ``again_s``: how long it took to be answered once more.
    """

    load: Load
    result: BulkResult
    before: bool
    prepared_s: float
    took_s: float
    again_s: float
    first_lines: list[dict[str, Any]]


async def run_full_demo(*, own_worker: bool, as_json: bool) -> Exit:
    """Apply all subdivisions and all airports, and show what came out; returns FINDINGS if one was not applied.

    ``own_worker``: run a worker meanwhile; else there is one already.
    """
    settings = Settings.from_environment()
    worker = running_worker() if own_worker else nullcontext()
    async with worker, Oncelog.connect(settings) as oncelog:
        every_airport, placed = airports()
        loads = [countries(), subdivisions(), every_airport]
        codes = [item["instance_id"] for item in loads[0].items]
        compared = [*codes, *OUTSIDE]
        questions = Questions(WORLD, ("BO", 12_500), compared, ends=("YSSY", "YPPH"), remark=OUTSIDE_REMARK)
        worst = await apply_loads(oncelog, settings, loads, as_json=as_json)
        if not as_json:
            console.output.print(Text(f"\nThe airports' subdivisions: {placed_text(placed)}."))
        worst = max(worst, await collide(oncelog, airport_records()[0], as_json=as_json))
        worst = max(worst, await ask(oncelog, questions, as_json=as_json))
        if not as_json:
            _print_farewell(loads)
        return worst


async def apply_loads(oncelog: Oncelog, settings: Settings, loads: Sequence[Load], *, as_json: bool) -> Exit:
    """Define each load's class and apply it as one bulk command, ask for the same once more, and show what came out."""
    worst = await _define([load.class_id for load in loads], oncelog, as_json=as_json)
    for load in loads:
        loaded = await _loaded(oncelog, load)
        document = await oncelog.get(AggregateId.of(WORLD, load.class_id, load.shown))
        whole = document is not None and bool(loaded.first_lines)
        worst = max(worst, exit_of(loaded.result), Exit.FINE if whole else Exit.FINDINGS)
        if as_json:
            console.print_json(loaded.result.model_dump(mode="json"))
        else:
            _print_load(settings, loaded, document)
        if not whole:
            errors.print(
                f"{load.shown}, or what came of each, is not here. If another installation ran {load.command_id} in "
                "this namespace of Temporal, its answer is what you see: give each a TEMPORAL_NAMESPACE of its own",
            )
    return worst


async def collide(oncelog: Oncelog, record: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Ask for one more airport with the code of one that exists; returns FINDINGS unless it is refused for that."""
    (answer,) = await submit_all(oncelog, [colliding_command(record, db_name=WORLD)], concurrency=1)
    if as_json:
        console.print_json(console.result_fields(answer))
    else:
        console.output.print(Rule("a code that is taken"))
        console.output.print(console.findings_view([answer]))
    return Exit.FINE if answer.outcome == RejectionCode.UNIQUE_VIOLATED else Exit.FINDINGS


async def ask(oncelog: Oncelog, questions: Questions, *, as_json: bool) -> Exit:
    """Ask the questions of all that is there, and show the answers; returns FINDINGS if one has none."""
    await oncelog.ports.graph.refresh_nodes(WORLD)  # a bulk command has no token that names all that it wrote
    began = time.perf_counter()
    answered = await Asking(oncelog.reader, questions, token=None, deadline_s=0).all()
    if as_json:
        for each in answered:
            console.print_json(each.fields())
    else:
        _print_answers(answered, took_s=time.perf_counter() - began)
    return Exit.FINE if all(each.rows for each in answered) else Exit.FINDINGS


async def _define(class_ids: Sequence[str], oncelog: Oncelog, *, as_json: bool) -> Exit:
    commands = [definition_command(WORLD, class_id, DEFINITIONS[class_id]) for class_id in class_ids]
    answers = await submit_all(oncelog, commands, concurrency=len(commands))
    if as_json:
        for answer in answers:
            console.print_json(console.result_fields(answer))
    else:
        console.output.print(Rule("classes"))
        console.output.print(console.answers_view(answers))
    failed = [answer for answer in answers if not answer.applied]
    if failed:
        errors.print(console.findings_view(failed))
    print_other_release(answers)
    return Exit.FINDINGS if failed else Exit.FINE


async def _loaded(oncelog: Oncelog, load: Load) -> _Loaded:
    errors.print(f"{load.source}: {len(load.items):,} items of {WORLD}/{load.class_id}")
    bulks = Bulks(oncelog)
    before = await _ended(oncelog, load.command_id)
    began = time.perf_counter()
    with spooled(load.items) as path:
        bulk = await bulks.prepared(path, _fields(load))
    prepared_s = time.perf_counter() - began
    began = time.perf_counter()
    result = await followed(oncelog, bulks.follow(bulk))
    took_s = time.perf_counter() - began
    began = time.perf_counter()
    again = await oncelog.submission(bulk)
    again_s = time.perf_counter() - began
    if (again.result, again.duplicate) != (result, True):
        raise CommandFailed(f"command {load.command_id}: two answers to one command; run oncelog verify")
    lines = [line async for line in bulks.results(result)]
    return _Loaded(load, result, before, prepared_s, took_s, again_s, lines[:LINES_SHOWN])


def _fields(load: Load) -> dict[str, Any]:
    return {
        "command_id": load.command_id,
        "command_type": BulkType.BULK_CREATE_INSTANCES,
        "db_name": WORLD,
        "class_id": load.class_id,
        "actor": "demo",
    }


async def _ended(oncelog: Oncelog, command_id: str) -> bool:
    try:
        return (await oncelog.status(command_id)).result is not None
    except CommandUnknown:
        return False


def _print_load(settings: Settings, loaded: _Loaded, document: Document | None) -> None:
    load, result = loaded.load, loaded.result
    rate = f"{result.counts.items / loaded.took_s:,.0f} items/s"
    took = "a duplicate: this is its first result" if loaded.before else rate
    console.output.print(Rule(f"{load.source}: {WORLD}/{load.class_id}"))
    rows = [
        ("command", result.command_id),
        ("items", f"{result.counts.items:,}"),
        ("applied", f"{result.counts.applied:,}"),
        ("rejected", f"{result.counts.rejected:,}"),
        ("checked, uploaded", f"{loaded.prepared_s:.2f} s"),
        ("took", f"{loaded.took_s:.2f} s, {took}"),
        ("the same again", f"answered with its first result in {loaded.again_s * 1000:.0f} ms"),
    ]
    console.output.print(console.pairs(rows))
    console.output.print(
        Text(f"\nWhat came of each: {settings.s3.bucket}/{settings.s3_prefix}{result.results_key}"), soft_wrap=True
    )
    console.output.print(f"SHA-256 {result.results_sha256}", style="dim", soft_wrap=True)
    for line in loaded.first_lines:
        console.output.print(JSON.from_data(line, indent=None, ensure_ascii=False), soft_wrap=True)
    console.output.print(Text(f"\nOne of them in Elasticsearch, {load.shown}:"))
    console.output.print(console.document_view(document) if document else "none")


def _print_answers(answered: Sequence[Answered], *, took_s: float) -> None:
    console.output.print(Rule("three questions that need the graph"))
    for each in answered:
        each.present(rows_max=ROWS_SHOWN)
        console.output.print()
    console.output.print(f"All three in {took_s:.1f} s.", style="dim")


def _print_farewell(loads: Sequence[Load]) -> None:
    shell = shell_prefix()
    last = loads[-1]
    print_farewell(
        [
            ("what came of each", f"{shell}oncelog bulk results {last.command_id}"),
            ("a class", f"{shell}oncelog class show {WORLD}/{AIRPORT}"),
            ("the graph", f"{shell}oncelog graph {WORLD}/{COUNTRY}/NZ subdivisions 'airports[/elevation_ft>=2000]'"),
            ("its history", f"{shell}oncelog history {WORLD}/{AIRPORT}/{SHOWN}"),
            ("again", "make demo-full"),
            ("stop everything", "make stop"),
        ]
    )

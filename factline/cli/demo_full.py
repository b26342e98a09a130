"""Bulk commands on real input: the subdivisions of ISO 3166 and the world's airports, tens of thousands of facts."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from rich.json import JSON
from rich.rule import Rule

from factline.bulks import Bulks, BulkType, spooled
from factline.cli import show
from factline.cli.bulk import exit_of, followed
from factline.cli.demo import shell_prefix
from factline.cli.demo_data import DB_NAME, Load, airports, subdivisions
from factline.cli.exits import Exit, errors
from factline.cli.own_worker import running_worker
from factline.client import Factline
from factline.domain.bulk.results import BulkResult
from factline.domain.identifiers import AggregateId
from factline.errors import CommandFailed, CommandUnknown
from factline.ports import Document
from factline.settings import Settings

LINES_SHOWN = 3


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
    async with worker, Factline.connect(settings) as factline:
        return await apply_loads(factline, settings, [subdivisions(), airports()], as_json=as_json)


async def apply_loads(factline: Factline, settings: Settings, loads: Sequence[Load], *, as_json: bool) -> Exit:
    """Apply each load as one bulk command, then ask for the same once more, and show what came out."""
    worst = Exit.FINE
    for load in loads:
        loaded = await _loaded(factline, load)
        document = await factline.get(AggregateId.of(DB_NAME, load.class_id, load.shown))
        whole = document is not None and bool(loaded.first_lines)
        worst = max(worst, exit_of(loaded.result), Exit.FINE if whole else Exit.FINDINGS)
        if as_json:
            show.print_json(loaded.result.model_dump(mode="json"))
        else:
            _print_load(settings, loaded, document)
        if not whole:
            errors.print(
                f"{load.shown}, or what came of each, is not here. If another installation ran {load.command_id} in "
                "this namespace of Temporal, its answer is what you see: give each a TEMPORAL_NAMESPACE of its own",
                markup=False,
            )
    if not as_json:
        _print_farewell(loads)
    return worst


async def _loaded(factline: Factline, load: Load) -> _Loaded:
    errors.print(f"{load.source}: {len(load.items):,} items of {DB_NAME}/{load.class_id}", markup=False)
    bulks = Bulks(factline)
    before = await _ended(factline, load.command_id)
    began = time.perf_counter()
    with spooled(load.items) as path:
        bulk = await bulks.prepared(path, _fields(load))
    prepared_s = time.perf_counter() - began
    began = time.perf_counter()
    result = await followed(factline, bulks.follow(bulk))
    took_s = time.perf_counter() - began
    began = time.perf_counter()
    again = await factline.submission(bulk)
    again_s = time.perf_counter() - began
    if (again.result, again.duplicate) != (result, True):
        raise CommandFailed(f"command {load.command_id}: two answers to one command; run factline verify")
    lines = [line async for line in bulks.results(result)]
    return _Loaded(load, result, before, prepared_s, took_s, again_s, lines[:LINES_SHOWN])


def _fields(load: Load) -> dict[str, Any]:
    return {
        "command_id": load.command_id,
        "command_type": BulkType.BULK_CREATE_INSTANCES,
        "db_name": DB_NAME,
        "class_id": load.class_id,
        "actor": "demo",
    }


async def _ended(factline: Factline, command_id: str) -> bool:
    try:
        return (await factline.status(command_id)).result is not None
    except CommandUnknown:
        return False


def _print_load(settings: Settings, loaded: _Loaded, document: Document | None) -> None:
    load, result = loaded.load, loaded.result
    rate = f"{result.counts.items / loaded.took_s:,.0f} items/s"
    took = "a duplicate: this is its first result" if loaded.before else rate
    show.output.print(Rule(f"{load.source}: {DB_NAME}/{load.class_id}"))
    rows = [
        ("command", result.command_id),
        ("items", f"{result.counts.items:,}"),
        ("applied", f"{result.counts.applied:,}"),
        ("rejected", f"{result.counts.rejected:,}"),
        ("checked, uploaded", f"{loaded.prepared_s:.2f} s"),
        ("took", f"{loaded.took_s:.2f} s, {took}"),
        ("the same again", f"answered with its first result in {loaded.again_s * 1000:.0f} ms"),
    ]
    show.output.print(show.pairs(rows))
    show.output.print(
        f"\nWhat came of each: {settings.s3_bucket}/{settings.s3_prefix}{result.results_key}", soft_wrap=True
    )
    show.output.print(f"SHA-256 {result.results_sha256}", style="dim", soft_wrap=True)
    for line in loaded.first_lines:
        show.output.print(JSON.from_data(line, indent=None, ensure_ascii=False), soft_wrap=True)
    show.output.print(f"\nOne of them in Elasticsearch, {load.shown}:")
    show.output.print(show.document_view(document) if document else "none")


def _print_farewell(loads: Sequence[Load]) -> None:
    shell = shell_prefix()
    show.output.print(Rule("look further"))
    show.output.print(f'eval "$({shell}python -m stack env)"', soft_wrap=True, markup=False)
    for load in loads:
        show.output.print(f"{shell}factline bulk results {load.command_id}", soft_wrap=True)
        show.output.print(f"{shell}factline history {DB_NAME}/{load.class_id}/{load.shown}", soft_wrap=True)

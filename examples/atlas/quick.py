"""The main job on real input: countries, subdivisions and airports become facts, a definition evolves meanwhile.

All countries of ISO 3166, and the subdivisions and airports of a few of them, through ordinary commands; then what came
out, in every store, and three questions that need the graph.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rich.console import Group
from rich.json import JSON
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.atlas.classes import AIRPORT, COUNTRIES, COUNTRY, SUBDIVISION, SUBDIVISIONS
from examples.atlas.data import (
    DB_NAME,
    DELETED,
    EXISTING,
    OUTSIDE_REMARK,
    REGION,
    SHOWN,
    airport_records,
    colliding_command,
    country_commands,
    create,
    definition_command,
    placed_text,
    subdivision_commands,
    taken_command,
)
from examples.atlas.evolving import DEADLINE_S, Evolving, Flow, Kept
from examples.atlas.farewell import print_farewell, print_other_release, shell_prefix
from examples.atlas.questions import Answered, Asking, Questions
from examples.programs import running_worker
from oncelog import console
from oncelog.client.client import Command, Oncelog
from oncelog.client.many_commands import Answer, submit_all
from oncelog.console import Exit, progress_shown
from oncelog.domain.canonical import parse_json
from oncelog.domain.identifiers import AggregateId
from oncelog.settings import Settings
from oncelog.stores.kafka.messages import Message
from oncelog.stores.kafka.topic_reader import read_messages
from oncelog.stores.opening import Stores

ROWS_SHOWN = 20
LAST_OF_SHOWN = f"{DB_NAME}-update-{AIRPORT}-{SHOWN}"


@dataclass(frozen=True)
class Scene:
    """Commands and questions of the demo. ``commands``: about countries and subdivisions; ``airports``:
    records, as they flow.
    """

    commands: Sequence[Command]
    airports: Sequence[Mapping[str, Any]]
    questions: Questions

    @classmethod
    def usual(cls) -> "Scene":
        """All countries, and what is in some of them."""
        questions = Questions(DB_NAME, ("BO", 12_500), REGION, ends=(SHOWN, "SLVR"), remark=OUTSIDE_REMARK)
        return cls([*country_commands(), *subdivision_commands()], airport_records(), questions)


@dataclass(frozen=True)
class Sent:
    """The results of all submitted commands. ``class_schemas``: of classes that do not change meanwhile."""

    class_schemas: list[Answer]
    instances: list[Answer]
    flow: Flow
    refusals: list[Answer]
    took_s: float

    @property
    def answers(self) -> list[Answer]:
        """All answers but those to commands that shall be refused."""
        defined = [evolution.answer for evolution in self.flow.evolutions]
        return [*self.class_schemas, *defined, *self.instances, *self.flow.answers]

    @property
    def failed(self) -> list[Answer]:
        """Commands that should have been applied and were not."""
        others = [answer for answer in (*self.class_schemas, *self.instances) if not answer.applied]
        return [*others, *self.flow.failed]

    def keys(self, *, duplicate: bool | None) -> set[str]:
        """Return where the events of what was applied lie; ``duplicate``: only of those that are, or are not."""
        return {
            f"events/{answer.result.aggregate_id}/{answer.result.sequence_number:020d}.json"
            for answer in self.answers
            if answer.result and answer.applied and duplicate in (None, answer.duplicate)
        }


async def run_demo(*, concurrency: int, own_worker: bool, as_json: bool) -> Exit:
    """Run all commands and show what came out; returns FINDINGS if it is not what it should be.

    ``own_worker``: run a worker meanwhile; else there is one already.
    """
    settings = Settings.from_environment()
    worker = running_worker() if own_worker else nullcontext()
    async with worker, Oncelog.connect(settings) as oncelog, await Stores.connect(settings) as stores:
        demo = Demo(oncelog, stores, settings, Scene.usual(), concurrency=concurrency)
        worst = await demo.run(as_json=as_json)
        if not as_json:
            _print_farewell(settings, worker_stays=not own_worker)
        return worst


class Demo:
    """The demo of one scene, through a client and stores that are open."""

    def __init__(self, oncelog: Oncelog, stores: Stores, settings: Settings, scene: Scene, *, concurrency: int) -> None:
        self._oncelog = oncelog
        self._stores = stores
        self._settings = settings
        self._scene = scene
        self._concurrency = concurrency

    async def run(self, *, as_json: bool) -> Exit:
        """Send everything, look at what came out, ask, and show all of it; returns FINDINGS where it is not right."""
        before = await _listed_events(self._stores)
        evolving = Evolving(self._oncelog, self._scene.airports, concurrency=self._concurrency)
        sent = await self._send(evolving)
        after = await _listed_events(self._stores)
        kept = await evolving.kept()
        asking = Asking(self._oncelog.reader, self._scene.questions, token=sent.flow.token, deadline_s=DEADLINE_S)
        answered = await asking.all()
        if as_json:
            for answer in (*sent.answers, *sent.refusals):
                console.print_json(console.result_fields(answer))
            for each in answered:
                console.print_json(each.fields())
        else:
            _print_answers(sent, before=len(before), after=len(after))
            _print_evolution(sent.flow, kept)
            await _print_traces(self._oncelog, self._stores, self._settings)
            _print_questions(answered)
        print_other_release(sent.answers)
        kept_all = kept.whole and not sent.failed and sent.keys(duplicate=None) <= after
        kept_once = len(after) <= len(before) + len(sent.keys(duplicate=False))  # commands under way may be in both
        return Exit.FINE if kept_all and kept_once and all(each.rows for each in answered) else Exit.FINDINGS

    async def _send(self, evolving: Evolving) -> Sent:
        """Define the classes, then send countries, subdivisions and airports, and what shall be refused."""
        oncelog, concurrency, commands = self._oncelog, self._concurrency, self._scene.commands
        began = time.perf_counter()
        stable = [(COUNTRY, COUNTRIES), (SUBDIVISION, SUBDIVISIONS)]
        defining = [definition_command(DB_NAME, class_id, definition) for class_id, definition in stable]
        class_schemas = await submit_all(oncelog, defining, concurrency=len(defining))
        async with progress_shown(oncelog, len(commands) + evolving.commands_count, title="commands") as answered:
            instances = await submit_all(oncelog, commands, concurrency=concurrency, answered=answered)
            flow = await evolving.run(answered)
        took_s = time.perf_counter() - began
        refused = await submit_all(oncelog, _refused_commands(self._scene.airports[0]), concurrency=1)
        taken = await submit_all(oncelog, [taken_command()], concurrency=1)
        return Sent(class_schemas, [*instances, *taken], flow, refused, took_s)


def _refused_commands(existing: Mapping[str, Any]) -> list[Command]:
    used = create(COUNTRY, EXISTING, {"name": "Another"})
    fields = {"name": "Bolivia", "alpha_2": EXISTING, "alpha_3": "BOL", "numeric": "068"}
    exists = create(COUNTRY, EXISTING, fields).model_copy(update={"command_id": f"{used.command_id}-again"})
    unfit = create(AIRPORT, "NEW", {"name": "Nowhere", "elevation": "high"})
    return [exists, used, unfit, colliding_command(existing)]


async def _listed_events(stores: Stores) -> set[str]:
    """Return the keys of the demo's events as they lie in S3."""
    prefix, keys, more = f"events/{DB_NAME}/", [""], True
    while more:
        listed, more = await stores.bucket.list_after(prefix, keys[-1])
        keys += [each.key for each in listed]
    return set(keys[1:])


def _print_answers(sent: Sent, *, before: int, after: int) -> None:
    count, duplicates = len(sent.answers), sum(answer.duplicate for answer in sent.answers)
    console.output.print(Rule("commands"))
    console.output.print(console.answers_view(sent.answers))
    console.output.print(
        Text(
            f"\n{count} commands in {sent.took_s:.1f} s, {count / sent.took_s:.0f}/s; "
            f"{duplicates} duplicates, answered with their first results.\n"
            f"Events in S3: {before} before, {after} after."
        )
    )
    if sent.failed:
        console.output.print(console.findings_view(sent.failed))
    console.output.print(
        Text(
            "\nFour that are refused: a country that exists, a command ID used before with other content, data that "
            "does not fit its class's definition, and a unique ICAO code that another airport holds."
        )
    )
    console.output.print(console.findings_view(sent.refusals))
    taken = sent.instances[-1]
    console.output.print(
        f"A unique code that is let go is free: {COUNTRY}/{DELETED} was deleted, and {COUNTRY}/"
        f"{taken.command.instance_id} with the same code is {taken.outcome}."
    )


def _print_evolution(flow: Flow, kept: Kept) -> None:
    console.output.print(Rule("a definition that evolves while data flows"))
    table = Table(AIRPORT, "what is new", box=None, pad_edge=False)
    for name in ("answered meanwhile", "created under it"):
        table.add_column(name, justify="right")
    news = ("refers to its country", "MINOR: and to its subdivision", "MAJOR: elevation is elevation_ft")
    for evolution, new in zip(flow.evolutions, news, strict=True):
        outcome = new if evolution.answer.applied else evolution.answer.outcome
        meanwhile = "a duplicate" if evolution.answer.duplicate else f"{evolution.meanwhile}"
        table.add_row(evolution.version, outcome, meanwhile, f"{kept.decided[evolution.version]}")
    console.output.print(table)
    console.output.print(
        Text(
            "\nCommands went on while each version was committed. "
            f"{len(flow.late)} spoke the old form when 2.0.0 was there: refused with the reason, and sent again in the "
            "new one. Airports: "
            f"{kept.sent} sent, {kept.decided.total()} in S3, {kept.found} found by search, {kept.in_feet} of them by "
            "elevation_ft, whichever version they were written under."
        )
    )
    console.output.print(f"Their subdivisions: {placed_text(flow.placed)}.")


async def _print_traces(oncelog: Oncelog, stores: Stores, settings: Settings) -> None:
    aggregate_id = AggregateId.of(DB_NAME, AIRPORT, SHOWN)
    status, document, messages = await asyncio.gather(
        oncelog.status(LAST_OF_SHOWN), oncelog.get(aggregate_id), read_messages(settings, aggregate_id)
    )
    key = f"events/{aggregate_id}/{1:020d}.json"
    stored = await stores.bucket.get(key)
    console.output.print(Rule(f"one of them, {SHOWN}: its first event in S3, as it was written"))
    console.output.print(f"{settings.s3.bucket}/{settings.s3_prefix}{key}", soft_wrap=True)
    if stored:
        console.output.print(JSON.from_data(parse_json(stored.body, where=key), ensure_ascii=False), soft_wrap=True)
        console.output.print(f"metadata: {dict(stored.metadata)}", style="dim")
    console.output.print(Rule(f"its messages on Kafka: {settings.instance_topic}"))
    console.output.print(_messages_view(messages))
    console.output.print(Rule("its document in Elasticsearch, as its class is defined now"))
    console.output.print(console.document_view(document) if document else "none")
    console.output.print(Rule("the status of its last command"))
    console.output.print(console.status_view(status))


def _messages_view(messages: Sequence[Message]) -> Group:
    shown = []
    for message in messages:
        where = f"partition {message.partition}, offset {message.offset}, key {message.key.decode()}"
        headers = [(name, value.decode()) for name, value in message.headers]
        value = ("value", f"{len(message.value)} bytes, the same as in S3")
        shown.append(Group(where, Padding(console.pairs([*headers, value]), (0, 0, 0, 2))))
    return Group(*shown)


def _print_questions(answered: Sequence[Answered]) -> None:
    console.output.print(Rule("three questions that need the graph"))
    for number, each in enumerate(answered):
        if number:
            console.output.print()
        each.present(rows_max=ROWS_SHOWN)


def _print_farewell(settings: Settings, *, worker_stays: bool) -> None:
    ui, shell = settings.temporal_ui_url, shell_prefix()
    rows: list[tuple[str, str]] = []
    if ui:
        workflows = f"{ui}/namespaces/{os.environ.get('TEMPORAL_NAMESPACE', 'default')}/workflows"
        query = quote(f'DbName="{DB_NAME}"', safe="")
        rows += [("Web UI, all", f"{workflows}?query={query}"), ("Web UI, one", f"{workflows}/{LAST_OF_SHOWN}")]
    if prometheus := os.environ.get("ONCELOG_PROMETHEUS_URL"):
        rows.append(("Prometheus", prometheus))
    rows += [
        ("a class", f"{shell}oncelog class show {DB_NAME}/{AIRPORT}"),
        ("the graph", f"{shell}oncelog graph {DB_NAME}/{COUNTRY}/EC subdivisions airports"),
        ("and back", f"{shell}oncelog graph {DB_NAME}/{AIRPORT}/{SHOWN} located_in airports"),
        ("a search", f"{shell}oncelog search {DB_NAME}/{AIRPORT} international"),
        ("its history", f"{shell}oncelog history {DB_NAME}/{AIRPORT}/{SHOWN}"),
        ("as it was", f"{shell}oncelog get {DB_NAME}/{AIRPORT}/{SHOWN} --as-of 1"),
        *([] if worker_stays else [("a worker", f"{shell}oncelog worker")]),
        ("one of yours", f'{shell}oncelog submit create shop/Product/p1 -p \'{{"name": "Lamp"}}\''),
        ("again", "make demo"),
        ("all the world", "make demo-full"),
        ("stop everything", "make stop"),
    ]
    console.output.print("Servers and worker still run." if worker_stays else "The servers still run.")
    print_farewell(rows)

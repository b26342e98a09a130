"""The main job on real input: every country of ISO 3166 becomes a fact, and then one looks at what came out."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote

from rich.console import Group
from rich.json import JSON
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from factline.cli import show
from factline.cli.demo_data import COUNTRY, DB_NAME, SHOWN, country_command, country_commands
from factline.cli.exits import Exit
from factline.cli.own_worker import running_worker
from factline.cli.running import Answer, submit_all, submit_with_progress
from factline.client import Command, CommandType, Factline
from factline.domain.canonical import parse_json
from factline.domain.identifiers import AggregateId
from factline.settings import Settings
from factline.stores.kafka import Message, read_messages
from factline.stores.opening import Stores


async def run_demo(*, concurrency: int, own_worker: bool, as_json: bool) -> Exit:
    """Run all commands and show what came out; returns FINDINGS if it is not what it should be.

    ``own_worker``: run a worker meanwhile; else there is one already.
    """
    settings = Settings.from_environment()
    commands = country_commands()
    worker = running_worker() if own_worker else nullcontext()
    async with worker, Factline.connect(settings) as factline, await Stores.connect(settings) as stores:
        events_before = await _count_events(stores)
        began = time.perf_counter()
        answers = await submit_with_progress(factline, commands, concurrency=concurrency, title="ISO 3166")
        took_s = time.perf_counter() - began
        events = await _count_events(stores)
        refusals = await submit_all(factline, _refused_commands(), concurrency=1)
        if as_json:
            for answer in (*answers, *refusals):
                show.print_json(show.result_fields(answer))
        else:
            _print_answers(answers, refusals, took_s=took_s, events_before=events_before, events=events)
            await _print_traces(factline, stores, settings)
            _print_farewell(settings, worker_stays=not own_worker)
        expected = len(
            {(answer.result.aggregate_id, answer.result.sequence_number) for answer in answers if answer.result}
        )
        return Exit.FINE if all(answer.applied for answer in answers) and events == expected else Exit.FINDINGS


def _refused_commands() -> list[Command]:
    again = country_command(CommandType.CREATE_INSTANCE, SHOWN, {"name": "Another"})
    return [again.model_copy(update={"command_id": f"iso3166-create-{SHOWN}-again"}), again]


async def _count_events(stores: Stores) -> int:
    """Count the events of the demo's class as they lie in S3."""
    prefix, after, count, more = f"events/{DB_NAME}/{COUNTRY}/", "", 0, True
    while more:
        listed, more = await stores.bucket.list_after(prefix, after)
        count += len(listed)
        after = listed[-1].key if listed else after
    return count


def _print_answers(
    answers: Sequence[Answer], refusals: Sequence[Answer], *, took_s: float, events_before: int, events: int
) -> None:
    duplicates = sum(answer.duplicate for answer in answers)
    created = sum(answer.duplicate for answer in answers if answer.command.command_type is CommandType.CREATE_INSTANCE)
    show.output.print(Rule("commands"))
    show.output.print(show.answers_view(answers))
    show.output.print(
        f"\n{len(answers)} commands in {took_s:.1f} s, {len(answers) / took_s:.0f}/s; "
        f"{duplicates} duplicates ({created} of them countries), answered with their first results.\n"
        f"Events in S3: {events_before} before, {events} after."
    )
    if any(not answer.applied for answer in answers):
        show.output.print(show.findings_view(answers))
    show.output.print("\nTwo that are refused: a country that exists, and a command ID used before with other content.")
    show.output.print(show.findings_view(refusals))


async def _print_traces(factline: Factline, stores: Stores, settings: Settings) -> None:
    aggregate_id = AggregateId.of(DB_NAME, COUNTRY, SHOWN)
    command_id = f"iso3166-update-{SHOWN}"
    status, document, messages = await asyncio.gather(
        factline.status(command_id), factline.get(aggregate_id), read_messages(settings, aggregate_id)
    )
    last = status.result.sequence_number if status.result else 1
    key = f"events/{aggregate_id}/{last:020d}.json"
    stored = await stores.bucket.get(key)
    show.output.print(Rule("its last event in S3"))
    show.output.print(f"{settings.s3_bucket}/{settings.s3_prefix}{key}", soft_wrap=True)
    if stored:
        show.output.print(JSON.from_data(parse_json(stored.body, where=key), ensure_ascii=False), soft_wrap=True)
        show.output.print(f"metadata: {dict(stored.metadata)}", style="dim")
    show.output.print(Rule(f"its messages on Kafka: {settings.instance_topic}"))
    show.output.print(_messages_view(messages))
    show.output.print(Rule("its document in Elasticsearch"))
    show.output.print(show.document_view(document) if document else "none")
    show.output.print(Rule("the status of its last command"))
    show.output.print(show.status_view(status))


def _messages_view(messages: Sequence[Message]) -> Group:
    shown = []
    for message in messages:
        where = f"partition {message.partition}, offset {message.offset}, key {message.key.decode()}"
        headers = [(name, value.decode()) for name, value in message.headers]
        value = ("value", f"{len(message.value)} bytes, the same as in S3")
        shown.append(Group(where, Padding(show.pairs([*headers, value]), (0, 0, 0, 2))))
    return Group(*shown)


def _print_farewell(settings: Settings, *, worker_stays: bool) -> None:
    ui = settings.temporal_ui_url
    rows: list[tuple[str, Any]] = []
    if ui:
        workflows = f"{ui}/namespaces/{os.environ.get('TEMPORAL_NAMESPACE', 'default')}/workflows"
        query = quote(f'DbName="{DB_NAME}"', safe="")
        rows += [
            ("Web UI: all commands", f"{workflows}?query={query}"),
            ("Web UI: this one", f"{workflows}/iso3166-update-{SHOWN}"),
        ]
    shell = shell_prefix()
    rows += [
        ("its history", f"{shell}factline history {DB_NAME}/{COUNTRY}/{SHOWN}"),
        *([] if worker_stays else [("a worker", f"{shell}factline worker")]),
        ("a command of yours", f'{shell}factline submit create shop/Product/p1 -p \'{{"name": "Lamp"}}\''),
        ("again", "make demo"),
        ("stop everything", "make stop"),
    ]
    show.output.print(Rule("look further"))
    rows.insert(0, ("in your shell", f'eval "$({shell}python -m stack env)"'))
    show.output.print("Servers and worker still run." if worker_stays else "The servers still run.")
    for name, text in rows:
        show.output.print(Text(f"{name:<21} ", style="dim").append(text, style="default"), soft_wrap=True)


def shell_prefix() -> str:
    """Return how this installation's scripts are called from here: ``.venv/bin/`` or nothing."""
    here = os.path.relpath(sys.prefix)
    return f"{here}/bin/" if sys.prefix != sys.base_prefix and not here.startswith("..") else ""

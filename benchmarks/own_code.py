"""A read model in SQL against plain ``executemany`` of the same rows, on SQLite, in turn.

python -m benchmarks.own_code                        some minute, no servers
python -m benchmarks.own_code --events 20000 --rounds 5

*A row each*: every event is of another aggregate, and puts a row of it. *Counters*: streams of five events, which add
to one row per group. The plain side has finished rows in memory, makes the same upserts, one per event, and commits as
often. The read model takes verified events, makes changes of them, and keeps the position of each aggregate in the same
transaction.
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table

from benchmarks.instance_events import stream
from oncelog import Changes, Event
from oncelog.process import collect_garbage_rarely
from oncelog.read_models.projector.loop import BATCH_MESSAGES_MAX
from oncelog.sql import Add, Put, SqlReadModel
from oncelog.sql.changes import Change
from oncelog.sql.models import SqlEventModel
from oncelog.testing import MemoryServers

STREAM_EVENTS = 5
GROUPS = 40

table = Table("lamps", MetaData(), Column("id", String(40), primary_key=True), Column("n", Integer, nullable=False))


def lamps(event: Event) -> list[Put]:
    return [Put(table, {"id": event.instance_id}, {"n": event.data["n"]})]


def _group(event: Event) -> str:
    return str(int(event.instance_id[1:]) % GROUPS)


def counters(event: Event) -> list[Add]:
    return [Add(table, {"id": _group(event)}, {"n": 1})]


@dataclass(frozen=True)
class Shape:
    """A kind of read model. ``row``: of the plain side; ``update``: of its upsert, where the row is there."""

    name: str
    stream_events: int
    changes: Callable[[Event], Iterable[Change]]
    row: Callable[[Event], tuple[Any, ...]]
    update: str


SHAPES = (
    Shape("a row each", 1, lamps, lambda event: (event.instance_id, event.data["n"]), "excluded.n"),
    Shape("counters", STREAM_EVENTS, counters, lambda event: (_group(event), 1), "n + excluded.n"),
)


@dataclass(frozen=True)
class Turn:
    """Events per second of wall time, and of CPU time of this process."""

    per_s: float
    per_cpu_s: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_code", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="per side and round")
    parser.add_argument("--rounds", type=int, default=5, help="how often both take their turn")
    options = parser.parse_args()
    collect_garbage_rarely()  # as a projector's process does
    for shape in SHAPES:
        _measure(shape, events_max=options.events, rounds=options.rounds)
    return 0


def _measure(shape: Shape, *, events_max: int, rounds: int) -> None:
    events: list[Event] = []
    for number in range(events_max // shape.stream_events):
        events += stream(number, shape.stream_events, lambda _: {"name": "Lamp", "n": 1})[0]
    ours, plain = list[Turn](), list[Turn]()
    for _ in range(rounds + 1):  # the first round warms up
        with tempfile.TemporaryDirectory() as folder:
            ours.append(asyncio.run(_by_read_model(Path(folder) / "ours.sqlite", shape, events)))
            plain.append(_by_executemany(Path(folder) / "plain.sqlite", shape, events))
    print(f"{shape.name}")
    for what, turns in (("read model", ours[1:]), ("executemany", plain[1:])):
        per_s = statistics.median(turn.per_s for turn in turns)
        cpu_us = 1e6 / statistics.median(turn.per_cpu_s for turn in turns)
        print(f"  {what:<12} {per_s:>10,.0f} events/s {cpu_us:>8.1f} µs of CPU per event")
    pairs = list(zip(ours[1:], plain[1:], strict=True))
    _print_ratio("ratio", [one.per_s / other.per_s for one, other in pairs])
    _print_ratio("ratio of CPU", [one.per_cpu_s / other.per_cpu_s for one, other in pairs])


def _print_ratio(what: str, ratios: Sequence[float]) -> None:
    print(f"  {what:<12} {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


async def _by_read_model(path: Path, shape: Shape, events: Sequence[Event]) -> Turn:
    definition = SqlReadModel("lamps", f"sqlite:///{path}", tables=[table], changes=shape.changes)
    model = SqlEventModel(definition, MemoryServers().ports())
    await model.prepare()
    batches = [events[start : start + BATCH_MESSAGES_MAX] for start in range(0, len(events), BATCH_MESSAGES_MAX)]
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for batch in batches:
        await model.project_events([_changes(each) for _, each in groupby(batch, lambda event: event.aggregate_id)])
    turn = _turn(len(events), began_s, began_cpu_s)
    await model.close()
    return turn


def _changes(group: Iterable[Event]) -> Changes:
    events = {event.sequence_number: event for event in group}
    return Changes(next(iter(events.values())).aggregate_id, min(events), max(events), events)


def _by_executemany(path: Path, shape: Shape, events: Sequence[Event]) -> Turn:
    rows = [shape.row(event) for event in events]
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE lamps (id VARCHAR(40) PRIMARY KEY, n INTEGER NOT NULL)")
    upsert = f"INSERT INTO lamps VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = {shape.update}"
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), BATCH_MESSAGES_MAX):
        with connection:
            connection.executemany(upsert, rows[start : start + BATCH_MESSAGES_MAX])
    turn = _turn(len(rows), began_s, began_cpu_s)
    connection.close()
    return turn


def _turn(events: int, began_s: float, began_cpu_s: float) -> Turn:
    return Turn(events / (time.perf_counter() - began_s), events / (time.process_time() - began_cpu_s))


if __name__ == "__main__":
    sys.exit(main())

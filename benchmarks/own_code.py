"""A read model in SQL against plain ``executemany`` of the same rows, on SQLite, in turn.

python -m benchmarks.own_code                        some minute, no servers
python -m benchmarks.own_code --events 20000 --rounds 5

The plain side has finished rows in memory, and commits as often. The read model takes verified events, makes changes of
them, and keeps the position of each aggregate in the same transaction: twice as many rows.
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table

from benchmarks.instance_events import stream
from oncelog import Changes, Event
from oncelog.read_models.projector.loop import BATCH_MESSAGES_MAX
from oncelog.sql import Put, SqlReadModel
from oncelog.sql.models import SqlEventModel
from oncelog.testing import MemoryServers

table = Table("lamps", MetaData(), Column("id", String(40), primary_key=True), Column("n", Integer, nullable=False))


def lamps(event: Event) -> list[Put]:
    return [Put(table, {"id": event.instance_id}, {"n": event.data["n"]})]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_code", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="per side and round")
    parser.add_argument("--rounds", type=int, default=5, help="how often both take their turn")
    options = parser.parse_args()
    events = [stream(number, 1, lambda _: {"name": "Lamp", "n": 1})[0][0] for number in range(options.events)]
    ours, plain = list[float](), list[float]()
    for _ in range(options.rounds + 1):  # the first round warms up
        with tempfile.TemporaryDirectory() as folder:
            ours.append(asyncio.run(_by_read_model(Path(folder) / "ours.sqlite", events)))
            plain.append(_by_executemany(Path(folder) / "plain.sqlite", events))
    ratios = [one / other for one, other in zip(ours[1:], plain[1:], strict=True)]
    print(f"read model   {statistics.median(ours[1:]):>10,.0f} events/s")
    print(f"executemany  {statistics.median(plain[1:]):>10,.0f} rows/s")
    print(f"ratio        {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return 0


async def _by_read_model(path: Path, events: Sequence[Event]) -> float:
    definition = SqlReadModel("lamps", f"sqlite:///{path}", tables=[table], changes=lamps)
    model = SqlEventModel(definition, MemoryServers().ports())
    await model.prepare()
    began_s = time.perf_counter()
    for start in range(0, len(events), BATCH_MESSAGES_MAX):
        batch = events[start : start + BATCH_MESSAGES_MAX]
        await model.project_events([Changes(event.aggregate_id, 1, 1, {1: event}) for event in batch])
    took_s = time.perf_counter() - began_s
    await model.close()
    return len(events) / took_s


def _by_executemany(path: Path, events: Sequence[Event]) -> float:
    rows = [(event.instance_id, event.data["n"]) for event in events]
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE lamps (id VARCHAR(40) PRIMARY KEY, n INTEGER NOT NULL)")
    began_s = time.perf_counter()
    for start in range(0, len(rows), BATCH_MESSAGES_MAX):
        with connection:
            connection.executemany(
                "INSERT INTO lamps VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
                rows[start : start + BATCH_MESSAGES_MAX],
            )
    took_s = time.perf_counter() - began_s
    connection.close()
    return len(rows) / took_s


if __name__ == "__main__":
    sys.exit(main())

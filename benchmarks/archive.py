"""The archive: its size and its cost, and reading from it against slots and against memory, ratios in one run.

``python -m benchmarks.archive --events 100000``, against the servers of the environment.
"""

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from benchmarks.instance_events import stream
from oncelog.archive.archiver import Archiver
from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.events import Event, read_event
from oncelog.domain.instance import Instance, evolve
from oncelog.ports import UNPUBLISHED, Ports
from oncelog.process import collect_garbage_rarely
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.stores.s3 import prepare_bucket

EVENTS_PER_STREAM = 5
PLACE = ("bench", "Product")


def _stream(number: int) -> list[Event]:
    def payload(version: int) -> dict[str, Any]:
        return {"name": f"Product {number}", "price": number / 8, "version": version, "tags": ["a", "b"]}

    return stream(number, EVENTS_PER_STREAM, payload)[0]


def _fold(events: Sequence[Event], state: Instance | None = None) -> Instance | None:
    for event in events:
        if event.sequence_number == 1:
            state = Instance(aggregate_id=event.aggregate_id)
        if state is not None:
            state = evolve(state, event)
    return state


async def _read(reader: LogReader) -> AsyncIterator[Sequence[Event]]:
    async for batch in reader.batches(LogPart(db_name=PLACE[0], class_id=PLACE[1])):
        yield batch.events


async def _timed_read(reader: LogReader) -> float:
    began, state = time.perf_counter(), None
    async for events in _read(reader):
        state = _fold(events, state)
    return time.perf_counter() - began


async def _listed(ports: Ports) -> None:
    """List the class once, as every reader does to find the tail."""
    position: str | None = ""
    while position is not None:
        page = await ports.catalogue.listed_streams(after=position, db_name=PLACE[0], class_id=PLACE[1])
        position = page.position


async def measure(events_count: int) -> dict[str, float]:
    """Write events, archive them, and read them in each way; times in seconds."""
    settings = Settings.from_environment().model_copy(update={"namespace": f"bench-{uuid.uuid4().hex[:8]}"})
    async with await Stores.connect(settings) as stores:
        await prepare_bucket(stores.bucket)
        ports, requests = stores.ports, stores.bucket.requests
        streams = [_stream(number) for number in range(events_count // EVENTS_PER_STREAM)]

        async def write(stream: list[Event]) -> None:
            for event in stream:
                await ports.event_log.append_event(event, published_through=UNPUBLISHED)

        await bounded_gather(write, streams, at_once=32)
        before, began = requests.copy(), time.perf_counter()
        report = await Archiver(ports).pack(*PLACE)
        while report.position is not None:
            report = await Archiver(ports).pack(*PLACE, first=report.position)
        archive_s, sent = time.perf_counter() - began, requests - before
        manifest = (await ports.archives.newest_manifest(*PLACE)).manifest
        events = [event for stream in streams for event in stream]
        raw = [event.canonical for event in events]
        began = time.perf_counter()
        await _listed(ports)
        listing_s = time.perf_counter() - began
        from_archive_s = await _timed_read(LogReader(ports))
        archived_alone_s = await _timed_read(LogReader(ports, tail=False))
        from_slots_s = await _timed_read(LogReader(ports, slots_only=True))
        began = time.perf_counter()
        _fold(events)
        fold_s, began = time.perf_counter() - began, time.perf_counter()
        _fold([read_event(body, where="memory") for body in raw])
        parse_and_fold_s = time.perf_counter() - began
    size_bytes = sum(file.size_bytes for file in manifest.files)
    return {
        "events": len(events),
        "archive_s": archive_s,
        "archive_lists": sent["ListObjectsV2"],
        "archive_gets": sent["GetObject"],
        "archive_puts": sent["PutObject"] + sent["UploadPart"],
        "size_share_of_raw": size_bytes / sum(map(len, raw)),
        "from_archive_s": from_archive_s,
        "of_which_listing_s": listing_s,
        "from_slots_s": from_slots_s,
        "times_as_fast_as_slots": from_slots_s / from_archive_s,
        "archived_alone_s": archived_alone_s,
        "alone_times_as_fast_as_slots": from_slots_s / archived_alone_s,
        "alone_share_of_fold_in_memory": fold_s / archived_alone_s,
        "alone_share_of_parse_and_fold_in_memory": parse_and_fold_s / archived_alone_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    collect_garbage_rarely()  # as a worker's process does
    found = asyncio.run(measure(options.events))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()

"""The archive on a bucket in memory and on the real server: packed, merged, collected, lost and made again."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from oncelog.archive import parquet_writer
from oncelog.archive.archiver import Archiver
from oncelog.archive.log_part import LogPart, order_key
from oncelog.archive.log_reader import LogReader
from oncelog.archive.run import PackReport
from oncelog.archive.stretch import EventBatch, EventOrigin
from oncelog.domain.archive import ArchiveManifest, sorted_runs
from oncelog.domain.events import Event
from oncelog.ports import UNPUBLISHED, Ports
from tests.commands import update
from tests.contract.chains import chain, event_of, state_at
from tests.contract.conftest import Opened

WHOLE = LogPart(db_name="shop", class_id="Product")
PLACE = ("shop", "Product")
LENGTHS = {"p1": 3, "p1-": 1, "p1.b": 4, "p10": 7, "日本": 1, "q": 2}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", 4)


async def append(ports: Ports, events: list[Event]) -> None:
    for event in events:
        await ports.event_log.append_event(event, published_through=UNPUBLISHED)


async def logged(ports: Ports) -> dict[str, list[Event]]:
    streams = {instance_id: chain(length, instance_id) for instance_id, length in LENGTHS.items()}
    for events in streams.values():
        await append(ports, events)
    return streams


def in_order(streams: dict[str, list[Event]]) -> list[Event]:
    by_key = sorted(streams.values(), key=lambda events: order_key(events[0].aggregate.instance_key))
    return [event for events in by_key for event in events]


async def archived(ports: Ports, archiver: Archiver | None = None) -> list[PackReport]:
    """Archive the class to its end, as the workflow does."""
    archiver = archiver or Archiver(ports)
    reports = [await archiver.pack(*PLACE)]
    while reports[-1].position is not None:
        reports.append(await archiver.pack(*PLACE, first=reports[-1].position))
    return reports


async def manifest_of(ports: Ports) -> ArchiveManifest:
    newest = await ports.archives.newest_manifest(*PLACE)
    assert not newest.damage
    return newest.manifest


async def batches_of(ports: Ports, part: LogPart = WHOLE, *, batch_events: int = 5) -> list[EventBatch]:
    return [batch async for batch in LogReader(ports).batches(part, batch_events=batch_events)]


async def read(ports: Ports) -> tuple[list[Event], int]:
    """Return all events of the class, and how many of them came from the archive."""
    batches = await batches_of(ports)
    assert not [damage for batch in batches for damage in batch.damages]
    return [event for batch in batches for event in batch.events], sum(batch.archived for batch in batches)


async def bytes_of(ports: Ports, key: str) -> bytes:
    size = await ports.large_objects.object_size(key)
    assert size is not None
    return await ports.large_objects.read_object(key, range(size))


async def test_archived_events_are_read_as_from_slots(opened: Opened):
    expected = in_order(await logged(opened.ports))
    [report] = await archived(opened.ports)
    assert (report.events, report.files, report.damages) == (18, 1, ())
    assert await read(opened.ports) == (expected, 18)
    manifest = await manifest_of(opened.ports)
    assert (manifest.number, manifest.events, manifest.previous_checksum) == (1, 18, None)


async def test_only_new_events_are_packed(opened: Opened):
    streams = await logged(opened.ports)
    await archived(opened.ports)
    streams["zz"] = longer = chain(9, "zz")
    await append(opened.ports, longer)
    assert await read(opened.ports) == (in_order(streams), 18)
    [report] = await archived(opened.ports)
    assert report.events == 9
    assert await read(opened.ports) == (in_order(streams), 27)
    first, second = (await manifest_of(opened.ports)).files
    assert (first.events, second.events) == (18, 9)


async def test_a_reader_without_tail_sends_no_listing(opened: Opened):
    expected = in_order(await logged(opened.ports))
    await archived(opened.ports)
    await append(opened.ports, chain(2, "zz"))
    reader = LogReader(replace(opened.ports, catalogue=None), tail=False)  # type: ignore[arg-type]
    batches = [batch async for batch in reader.batches(WHOLE, batch_events=5)]
    assert [event for batch in batches for event in batch.events] == expected
    assert not [damage for batch in batches for damage in batch.damages]
    rest = [batch async for batch in reader.batches(WHOLE, after=batches[1].position)]
    assert [event for batch in rest for event in batch.events] == expected[sum(len(b.events) for b in batches[:2]) :]


async def test_a_stream_that_grows_is_read_from_several_files(opened: Opened):
    events = chain(30)
    for stop in (7, 8, 20):
        await append(opened.ports, events[:stop])
        await archived(opened.ports)
    await append(opened.ports, events)
    assert await read(opened.ports) == (events, 20)
    batches = await batches_of(opened.ports, batch_events=3)
    for batch in batches:
        rest = [one async for one in LogReader(opened.ports).batches(WHOLE, after=batch.position)]
        assert batch.position is not None
        assert [event for one in rest for event in one.events] == events[batch.position.sequence_number :]


async def test_a_class_larger_than_a_file_is_one_run(opened: Opened):
    expected = in_order(await logged(opened.ports))
    reports = await archived(opened.ports, Archiver(opened.ports, file_bytes=1))
    assert len(reports) >= 1
    manifest = await manifest_of(opened.ports)
    assert len(sorted_runs(manifest.files)) == 1
    assert await read(opened.ports) == (expected, 18)


async def test_files_are_merged_to_a_few_sorted_runs(opened: Opened):
    events = {name: chain(12, name) for name in ("a", "b")}
    for stop in range(1, 13):
        for stream in events.values():
            await append(opened.ports, stream[stop - 1 : stop])
        await archived(opened.ports)
        while (await Archiver(opened.ports).merge(*PLACE)).files_before:
            pass
        assert len(sorted_runs((await manifest_of(opened.ports)).files)) <= 8
        assert await read(opened.ports) == (in_order({name: each[:stop] for name, each in events.items()}), 2 * stop)
    assert len((await manifest_of(opened.ports)).files) < 12


async def test_two_archivers_archive_nothing_twice(opened: Opened):
    expected = in_order(await logged(opened.ports))
    archivers = [Archiver(opened.ports), Archiver(opened.ports)]
    reports = await asyncio.gather(*(archiver.pack(*PLACE) for archiver in archivers))
    assert sorted(report.conflict for report in reports) == [False, True]
    assert (await manifest_of(opened.ports)).events == 18
    assert await read(opened.ports) == (expected, 18)
    [again] = await archived(opened.ports)
    assert again.events == 0


async def test_unnamed_files_are_removed_and_named_ones_kept(opened: Opened):
    await logged(opened.ports)
    archivers = [Archiver(opened.ports), Archiver(opened.ports)]
    await asyncio.gather(*(archiver.pack(*PLACE) for archiver in archivers))
    assert len([file async for file in opened.ports.archives.archive_files(*PLACE)]) == 2
    assert await archivers[0].collect(*PLACE) == 1
    [left] = [file async for file in opened.ports.archives.archive_files(*PLACE)]
    assert left.key == (await manifest_of(opened.ports)).files[0].key


async def test_a_file_of_an_archiver_at_work_is_kept(opened: Opened):
    await logged(opened.ports)
    await archived(opened.ports)
    under_way = f"archive/shop/Product/files/{2:020d}/at-work.parquet"
    await opened.put_object(under_way, b"half")
    assert await Archiver(opened.ports).collect(*PLACE, keep_for=timedelta(0)) == 0
    await append(opened.ports, chain(1, "zz"))
    await archived(opened.ports)
    assert await Archiver(opened.ports).collect(*PLACE, keep_for=timedelta(0)) == 1


async def test_merged_files_are_kept_for_their_readers(opened: Opened):
    for number in range(10):
        await append(opened.ports, chain(1, f"a{number}"))
        await archived(opened.ports)
    before = await manifest_of(opened.ports)
    assert (await Archiver(opened.ports).merge(*PLACE)).files_before == 10
    assert await Archiver(opened.ports).collect(*PLACE) == 0
    assert [await opened.ports.large_objects.object_size(file.key) for file in before.files] == [
        file.size_bytes for file in before.files
    ]


async def test_a_lost_file_is_made_again(opened: Opened):
    expected = in_order(await logged(opened.ports))
    await archived(opened.ports)
    [file] = (await manifest_of(opened.ports)).files
    [listed] = [listed async for listed in opened.ports.archives.archive_files(*PLACE)]
    await opened.ports.archives.remove_file(listed)
    assert await read(opened.ports) == (expected, 0)
    [report] = await archived(opened.ports)
    assert report.lost == 1
    [report] = await archived(opened.ports)
    assert (await manifest_of(opened.ports)).events == 18
    assert await read(opened.ports) == (expected, 18)
    assert file.key not in {each.key for each in (await manifest_of(opened.ports)).files}


@pytest.mark.parametrize("place", ["footer", "middle", "start"])
async def test_a_damaged_file_is_left_aside_and_made_again(opened: Opened, place: str):
    expected = in_order(await logged(opened.ports))
    await archived(opened.ports)
    [file] = (await manifest_of(opened.ports)).files
    body = bytearray(await bytes_of(opened.ports, file.key))
    at = {"footer": len(body) - 40, "middle": len(body) // 2, "start": 60}[place]
    for offset in range(24):
        body[at + offset] ^= 0x55
    await opened.put_object(file.key, bytes(body))
    events, _ = await read(opened.ports)
    assert events == expected
    for _ in range(2):
        await archived(opened.ports)
    assert await read(opened.ports) == (expected, 18) or place == "start"


async def test_a_damaged_manifest_is_followed_by_a_new_one(opened: Opened):
    expected = in_order(await logged(opened.ports))
    await archived(opened.ports)
    await opened.put_object(f"archive/shop/Product/manifests/{1:020d}.json", b'{"files":[]}')
    assert await read(opened.ports) == (expected, 0)
    [report] = await archived(opened.ports)
    assert report.events == 18
    assert (await manifest_of(opened.ports)).number == 2
    assert await read(opened.ports) == (expected, 18)


async def _forged(opened: Opened, streams: dict[str, list[Event]]) -> None:
    """Publish a manifest whose file holds a stream of another content, sealed as it should be."""

    class Forging:
        async def read_event(self, aggregate_id: object, number: int) -> object:
            stored = await opened.ports.event_log.read_event(aggregate_id, number)  # type: ignore[arg-type]
            forged = streams.get(str(aggregate_id).rpartition("/")[2])
            return stored if forged is None or stored is None else type(stored)(forged[number - 1], UNPUBLISHED)

    await archived(opened.ports, Archiver(replace(opened.ports, event_log=Forging())))  # type: ignore[arg-type]


async def test_a_forged_stream_is_read_again_from_its_slots(opened: Opened):
    streams = await logged(opened.ports)
    await _forged(opened, {"p10": chain(7, "p10", forged=True)})
    await append(opened.ports, chain(1, "zz"))
    batches = await batches_of(opened.ports)
    assert not any(batch.damages for batch in batches), "the forgery is consistent by itself"
    longer = (await _longer(opened.ports, streams["p10"]))[-1]
    batches = await batches_of(opened.ports)
    [damage] = [damage for batch in batches for damage in batch.damages]
    assert (damage.aggregate_id, damage.sequence_number) == ("shop/Product/p10", 8)
    events = [event for batch in batches for event in batch.events if event.instance_id == "p10"]
    assert events[7:] == [*streams["p10"], longer], "all of it again, from event 1"
    assert damage.origin is EventOrigin.ARCHIVE


async def _longer(ports: Ports, events: list[Event]) -> list[Event]:
    event = event_of(state_at(events), update("p10"))
    await append(ports, [event])
    return [*events, event]

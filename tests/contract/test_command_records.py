"""``CommandRecords``, ``ChunkRecords``, ``Snapshots`` and ``ClassNames``: further objects in S3."""

import asyncio

import pytest

from oncelog.domain.bulk.plan import ChunkStart, Plan
from oncelog.domain.bulk.records import Binding, BulkRecord, Closed, bulk_record, chunk_record
from oncelog.domain.commands import Command
from oncelog.domain.records import CommandRecord, record_of
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import LogDamaged
from oncelog.stores.sealed_state import seal_state
from tests.bulks import bulk_create
from tests.commands import create
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.conftest import Opened
from tests.write.world import NOON


def _record(command: Command, number: int = 1, end: int | Rejection = 1) -> CommandRecord:
    return record_of(command, number=number, occurred_at=NOON, end=end)


def _bulk_record(command_id: str) -> BulkRecord:
    plan = Plan(items_count=1, size_bytes=3, chunks=(ChunkStart(first=0, offset=0, sha256="0" * 64),))
    return bulk_record(bulk_create({}, command_id=command_id), occurred_at=NOON, end=plan)


async def test_the_first_record_binds(opened: Opened):
    records = opened.ports.records
    command = create()
    rejection = Rejection(code=RejectionCode.INSTANCE_EXISTS, message="is there", details={"found_version": 1})
    first, second = _record(command), _record(command, end=rejection)
    assert await records.write_record(first) == first
    assert await records.write_record(second) == first
    assert await records.read_record(command.command_id, 1) == first
    assert await records.read_record(command.command_id, 2) is None
    assert await records.write_record(_record(command, 2, rejection)) == _record(command, 2, rejection)
    assert await records.read_record(command.command_id, 2) == _record(command, 2, rejection)


async def test_of_many_at_once_all_hear_of_the_same(opened: Opened):
    command = create()
    slots = range(1, 13)
    told = await asyncio.gather(*(opened.ports.records.write_record(_record(command, end=slot)) for slot in slots))
    assert len({record.canonical for record in told}) == 1


@pytest.mark.parametrize("command_id", [".", "..", "a:b", "x" * 128, "A", "a"])
async def test_every_command_id_has_records_of_its_own(opened: Opened, command_id: str):
    record = _record(create(command_id=command_id))
    assert await opened.ports.records.write_record(record) == record
    assert await opened.ports.records.read_record(command_id, 1) == record


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff"])
async def test_a_damaged_record_is_named(opened: Opened, body: bytes):
    await opened.put_object("commands/c/000001.json", body)
    with pytest.raises(LogDamaged, match="record 1 of command c"):
        await opened.ports.records.read_record("c", 1)
    with pytest.raises(LogDamaged, match="record 1 of command c"):
        await opened.ports.records.write_record(_record(create(command_id="c")))


async def test_a_record_under_another_command_is_damage(opened: Opened):
    await opened.put_object("commands/c/000001.json", _record(create(command_id="d")).canonical)
    with pytest.raises(LogDamaged, match="1 of d"):
        await opened.ports.records.read_record("c", 1)


async def test_one_id_is_used_by_one_command_of_whichever_kind(opened: Opened):
    records = opened.ports.records
    single, bulk = _record(create(command_id="c")), _bulk_record("c")
    assert await records.write_record(bulk) == bulk
    assert await records.write_record(single) == bulk
    assert await records.read_record("c", 1) == bulk
    assert await records.write_record(_record(create(command_id="d"))) == await records.write_record(_bulk_record("d"))


async def test_the_first_record_of_a_chunk_binds(opened: Opened):
    records, bulk = opened.ports.chunk_records, _bulk_record("c")
    first = chunk_record(bulk, 1, 1, [Binding(index=0, aggregate_id=str(PLACE), slot=1)])
    assert await records.read_chunk_record("c", 1, 1) is None
    told = await asyncio.gather(
        *(records.write_chunk_record(chunk_record(bulk, 1, 1, Closed.CANCELLED)) for _ in range(3))
    )
    assert await records.write_chunk_record(first) == told[0]
    assert await records.read_chunk_record("c", 1, 1) == chunk_record(bulk, 1, 1, Closed.CANCELLED)
    for chunk, number in ((2, 1), (1, 2)):
        other = chunk_record(bulk, chunk, number, first.bindings)
        assert await records.write_chunk_record(other) == other
        assert await records.read_chunk_record("c", chunk, number) == other


async def test_a_damaged_or_moved_record_of_a_chunk_is_named(opened: Opened):
    records, moved = opened.ports.chunk_records, chunk_record(_bulk_record("c"), 2, 1, Closed.CANCELLED)
    for body in (b"{}", moved.canonical):
        await opened.put_object("commands/c/chunks/000001/000001.json", body)
        with pytest.raises(LogDamaged, match="record 1 of chunk 1 of command c"):
            await records.read_chunk_record("c", 1, 1)


async def test_the_latest_snapshot_is_kept(opened: Opened):
    snapshots = opened.ports.snapshots
    assert await snapshots.latest_snapshot(PLACE) is None
    events = chain(3)
    for length in (1, 3):
        await snapshots.save_snapshot(state_at(events[:length]))
        assert await snapshots.latest_snapshot(PLACE) == state_at(events[:length])


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff"])
async def test_a_damaged_snapshot_counts_as_none(opened: Opened, body: bytes):
    await opened.put_object(f"snapshots/{PLACE}.json", body)
    assert await opened.ports.snapshots.latest_snapshot(PLACE) is None


async def test_a_snapshot_of_something_else_counts_as_none(opened: Opened):
    await opened.put_object(f"snapshots/{PLACE}.json", seal_state(state_at(chain(1, "p2"))))
    assert await opened.ports.snapshots.latest_snapshot(PLACE) is None


async def test_the_first_spelling_of_a_name_stands(opened: Opened):
    names = opened.ports.names
    assert await names.read_class_name("Shop", "Product") is None
    assert await names.claim_class_name("Shop", "Product") == ("Shop", "Product")
    assert await names.claim_class_name("Shop", "Product") == ("Shop", "Product")
    assert await names.claim_class_name("Shop", "PRODUCT") == ("Shop", "Product")
    assert (await names.claim_class_name("shop", "Order"))[0] == "Shop"
    assert await names.claim_class_name("Shop", "Order") == ("Shop", "Order")
    assert await names.claim_class_name("Shop2", "product") == ("Shop2", "product")
    assert await names.read_class_name("shop", "PRODUCT") == ("Shop", "Product")
    assert (await names.read_class_name("shop", "New") or ("",))[0] == "Shop"
    assert await names.read_class_name("Shop", "New") is None


async def test_of_many_spellings_at_once_one_stands(opened: Opened):
    spellings = ["Product", "product", "PRODUCT", "pRODUCT"]
    told = await asyncio.gather(*(opened.ports.names.claim_class_name("shop", spelling) for spelling in spellings))
    assert len(set(told)) == 1

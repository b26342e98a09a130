"""Damage planted in the archive is found, each kind by its code; a sound archive has no finding."""

from collections.abc import Callable

import pytest

from oncelog.archive import parquet
from oncelog.archive.archiver import Archiver
from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.domain.archive import next_manifest
from oncelog.ports import UNPUBLISHED, StoredEvent
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.contract.chains import chain
from tests.write.world import World

PLACE = ("shop", "Product")


async def _world() -> World:
    world = World()
    for name in ("a", "b"):
        for event in chain(4, name):
            await world.ports().event_log.append_event(event, published_through=UNPUBLISHED)
    await Archiver(world.ports()).pack(*PLACE)
    return world


async def _codes(world: World) -> set[Code]:
    report = await verify(world.sources, in_flight=nothing_in_flight)
    return {finding.code for finding in report.findings if finding.code.startswith("Archive")}


def _file_key(world: World) -> str:
    return next(key for key in world.bucket.objects if key.endswith(".parquet"))


def _lost(world: World) -> None:
    del world.bucket.objects[_file_key(world)]


def _flipped(world: World) -> None:
    body = bytearray(world.bucket.objects[_file_key(world)].body)
    body[100] ^= 1
    world.bucket.objects[_file_key(world)] = StoredObject(bytes(body))


def _damaged_manifest(world: World) -> None:
    key = next(key for key in world.bucket.objects if "/manifests/" in key)
    body = world.bucket.objects[key].body.replace(b'"events":8', b'"events":7')
    world.bucket.objects[key] = StoredObject(body)


@pytest.mark.parametrize("damage", [_lost, _flipped, _damaged_manifest])
async def test_damaged_archive_is_found(damage: Callable[[World], None]):
    world = await _world()
    assert await _codes(world) == set()
    damage(world)
    assert await _codes(world) == {Code.ARCHIVE_DAMAGED}


async def _replaced(world: World, table: object) -> None:
    """Publish a sound manifest that names a file with these rows instead."""
    writer = parquet.FileWriter()
    writer.add(table)
    key = f"archive/shop/Product/files/{2:020d}/forged.parquet"
    file, body = writer.end(key)
    world.bucket.objects[key] = StoredObject(body)
    archives = world.ports().archives
    assert await archives.publish_manifest(next_manifest((await archives.newest_manifest(*PLACE)).manifest, [file]))


async def test_forged_rows_are_found():
    world = await _world()
    stored = [StoredEvent(event, UNPUBLISHED) for event in [*chain(4, "a"), *chain(4, "b")]]
    await _replaced(world, parquet.table_of(stored))
    assert await _codes(world) == {Code.ARCHIVE_FORGED}, "the same streams, of other commands"


async def test_forged_columns_are_found():
    world = await _world()
    log = world.ports().event_log
    events = []
    for name in ("a", "b"):
        for number in range(1, 5):
            stored = await log.read_event(chain(1, name)[0].aggregate, number)
            assert stored is not None
            events.append(stored)
    table = parquet.table_of(events)
    column = table.schema.get_field_index("actor")
    await _replaced(world, table.set_column(column, table.schema.field(column), [["mallory"] * len(table)]))
    assert await _codes(world) == {Code.ARCHIVE_FORGED}
    await _archive_of(world, events[:1] + events[2:])
    assert await _codes(world) == {Code.ARCHIVE_GAP}


async def _archive_of(world: World, events: list[StoredEvent]) -> None:
    archives = world.ports().archives
    writer = parquet.FileWriter()
    writer.add(parquet.table_of(events))
    key = f"archive/shop/Product/files/{3:020d}/gap.parquet"
    file, body = writer.end(key)
    world.bucket.objects[key] = StoredObject(body)
    assert await archives.publish_manifest(next_manifest((await archives.newest_manifest(*PLACE)).manifest, [file]))


async def test_an_archive_that_is_behind_is_no_finding():
    world = await _world()
    for event in chain(2, "c"):
        await world.ports().event_log.append_event(event, published_through=UNPUBLISHED)
    assert await _codes(world) == set()

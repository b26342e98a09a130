"""Damage to the archive of a healthy installation."""

from collections.abc import Sequence
from typing import Any

from oncelog.archive.archiver import Archiver
from oncelog.archive.event_table import table_of
from oncelog.archive.parquet_writer import FileWriter
from oncelog.domain.archive import next_manifest
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import UNPUBLISHED, StoredEvent
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.contract.chains import chain
from tests.verification import damage
from tests.verification.damage import Damage
from tests.write.world import World

PLACE = ("shop", "Product")


async def healthy() -> World:
    """Return a healthy installation whose products are archived."""
    world = await damage.healthy()
    await Archiver(world.ports()).pack(*PLACE)
    return world


def file_key(world: World) -> str:
    """Return the key of the archive's only file."""
    return next(key for key in world.bucket.objects if key.endswith(".parquet"))


def lose_file(world: World) -> None:
    del world.bucket.objects[file_key(world)]


def flip_bit(world: World) -> None:
    body = bytearray(world.bucket.objects[file_key(world)].body)
    body[100] ^= 1
    world.bucket.objects[file_key(world)] = StoredObject(bytes(body))


def alter_manifest(world: World) -> None:
    key = next(key for key in world.bucket.objects if "/manifests/" in key)
    body = world.bucket.objects[key].body
    assert b'"events":' in body
    world.bucket.objects[key] = StoredObject(body.replace(b'"events":', b'"events":9'))


async def archive_others(world: World) -> None:
    """Let a sound manifest name the same streams of other commands."""
    streams = await _archived(world)
    last = {event.event.aggregate_id: event.event.sequence_number for event in streams}
    others = [each for name, head in last.items() for each in chain(head, AggregateId.parse(name).instance_key)]
    await _publish(world, table_of([StoredEvent(event, UNPUBLISHED) for event in others]))


async def forge_actor(world: World) -> None:
    """Let a sound manifest name the true events with another actor in their column."""
    table = table_of(await _archived(world))
    column = table.schema.get_field_index("actor")
    forged = [["mallory"] * len(table)]
    await _publish(world, table.set_column(column, table.schema.field(column), forged))


async def leave_out(world: World) -> None:
    """Let a sound manifest name a file without the second event."""
    events = await _archived(world)
    await _publish(world, table_of(events[:1] + events[2:]))


async def _archived(world: World) -> list[StoredEvent]:
    ports = world.ports()
    events: list[StoredEvent] = []
    page = await ports.catalogue.listed_streams(after="", db_name=PLACE[0], class_id=PLACE[1])
    for listed in page.items:
        for number in range(1, listed.head + 1):
            stored = await ports.event_log.read_event(listed.aggregate_id, number)
            assert stored is not None
            events.append(stored)
    return events


async def _publish(world: World, table: Any) -> None:
    """Publish a sound manifest that names a file with these rows instead."""
    archives = world.ports().archives
    newest = (await archives.newest_manifest(*PLACE)).manifest
    writer = FileWriter()
    writer.add(table)
    file, body = writer.end(f"archive/{PLACE[0]}/{PLACE[1]}/files/{newest.number + 1:020d}/forged.parquet")
    world.bucket.objects[file.key] = StoredObject(body)
    assert await archives.publish_manifest(next_manifest(newest, [file]))


PLANTED: Sequence[Damage] = [
    Damage("a file of the archive is lost", lose_file, Code.ARCHIVE_DAMAGED),
    Damage("a bit of an archived file is flipped", flip_bit, Code.ARCHIVE_DAMAGED),
    Damage("a manifest is altered", alter_manifest, Code.ARCHIVE_DAMAGED),
    Damage("an archive holds other commands' events", archive_others, Code.ARCHIVE_FORGED),
    Damage("a column of an archived file is forged", forge_actor, Code.ARCHIVE_FORGED),
    Damage("an event is left out of the archive", leave_out, Code.ARCHIVE_GAP),
]

"""The memory of commands: records written once, for ever (docs/protocol.md, R2)."""

from functools import partial

from oncelog.domain.bulk.records import ChunkRecord, read_chunk_record
from oncelog.domain.records import AnyRecord, read_record
from oncelog.domain.stored_names import chunk_record_key, command_record_key
from oncelog.offload import offloaded
from oncelog.stores.s3.bucket import Bucket, StoredObject
from oncelog.stores.s3.moved import moved_object


class S3CommandRecords:
    """``CommandRecords`` on a bucket: ``commands/{command_id}/{number:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write_record(self, record: AnyRecord) -> AnyRecord:
        key = command_record_key(record.command_id, record.number)
        existing = await self._bucket.put_if_absent(key, record.canonical)
        if existing is None:
            return record
        return await offloaded(partial(_verified, existing, record.command_id, record.number), of=existing.body)

    async def read_record(self, command_id: str, number: int) -> AnyRecord | None:
        found = await self._bucket.get(command_record_key(command_id, number))
        if found is None:
            return None
        return await offloaded(partial(_verified, found, command_id, number), of=found.body)


class S3ChunkRecords:
    """``ChunkRecords`` on a bucket: ``commands/{command_id}/chunks/{chunk:06d}/{number:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write_chunk_record(self, record: ChunkRecord) -> ChunkRecord:
        place = (record.command_id, record.chunk, record.number)
        existing = await self._bucket.put_if_absent(chunk_record_key(*place), record.canonical)
        return record if existing is None else _verified_chunk(existing, *place)

    async def read_chunk_record(self, command_id: str, chunk: int, number: int) -> ChunkRecord | None:
        found = await self._bucket.get(chunk_record_key(command_id, chunk, number))
        return None if found is None else _verified_chunk(found, command_id, chunk, number)


def _verified(found: StoredObject, command_id: str, number: int) -> AnyRecord:
    """Return the record if it is whole and the one that its key names, or raise LogDamaged."""
    where = f"record {number} of command {command_id}"
    record = read_record(found.body, where=where)
    if (record.command_id, record.number) != (command_id, number):
        raise moved_object(where, expected="record", found=f"{record.number} of {record.command_id}")
    return record


def _verified_chunk(found: StoredObject, command_id: str, chunk: int, number: int) -> ChunkRecord:
    where = f"record {number} of chunk {chunk} of command {command_id}"
    record = read_chunk_record(found.body, where=where)
    if (record.command_id, record.chunk, record.number) != (command_id, chunk, number):
        raise moved_object(
            where, expected="record", found=f"{record.number} of chunk {record.chunk} of {record.command_id}"
        )
    return record

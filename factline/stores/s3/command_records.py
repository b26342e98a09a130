"""The memory of commands: records written once, for ever (rule R2)."""

from factline.domain.identifiers import encode_instance_id
from factline.domain.records import CommandRecord, read_record
from factline.errors import LogDamaged
from factline.stores.s3.bucket import Bucket, StoredObject


class S3CommandRecords:
    """``CommandRecords`` on a bucket: ``commands/{command_id}/{number:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write(self, record: CommandRecord) -> CommandRecord:
        key = _record_key(record.command_id, record.number)
        standing = await self._bucket.put_if_absent(key, record.canonical)
        return record if standing is None else _verified(standing, record.command_id, record.number)

    async def read(self, command_id: str, number: int) -> CommandRecord | None:
        found = await self._bucket.get(_record_key(command_id, number))
        return None if found is None else _verified(found, command_id, number)


def _record_key(command_id: str, number: int) -> str:
    """A command ID needs encoding only where it would be a folder's name for itself or its parent."""
    folder = encode_instance_id(command_id) if command_id in (".", "..") else command_id
    return f"commands/{folder}/{number:06d}.json"


def _verified(found: StoredObject, command_id: str, number: int) -> CommandRecord:
    """Return the record if it is whole and the one that its key names, or raise LogDamaged."""
    where = f"record {number} of command {command_id}"
    record = read_record(found.body, where=where)
    if (record.command_id, record.number) != (command_id, number):
        raise LogDamaged(
            f"{where}: expected its own record, found {record.number} of {record.command_id}; "
            "an object was moved, run a consistency check",
            where=where,
        )
    return record

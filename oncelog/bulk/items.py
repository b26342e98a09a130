"""From a bulk command to its items: all of them once, to plan; then those of one chunk at a time."""

import asyncio
from typing import Any

from oncelog.domain.bulk.command import Bulk, ItemsReference
from oncelog.domain.bulk.plan import ItemsScanner, Plan, items_in, lines_of
from oncelog.domain.bulk.records import BulkRecord
from oncelog.domain.canonical import sha256_hex
from oncelog.domain.limits import CHUNKS_MAX, ITEMS_BYTES_MAX
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.ports import LargeObjects

BLOCK_BYTES = 8 * 1024 * 1024


class BulkItems:
    """Reads items, from the command itself or from where it says that they lie; holds a chunk of them at most."""

    def __init__(self, objects: LargeObjects, *, chunk_items_max: int) -> None:
        self._objects = objects
        self._chunk_items_max = chunk_items_max

    async def plan(self, bulk: Bulk) -> Plan | Rejection:
        """Go through all items once and divide them, or return why the whole command is refused."""
        source = bulk.payload.source
        items_count = source.items_count if isinstance(source, ItemsReference) else len(source)
        # A plan of chunks that are too small for a million items would be too large to be read.
        chunk_items_max = max(self._chunk_items_max, -(-items_count // CHUNKS_MAX))
        scanner = ItemsScanner(chunk_items_max=chunk_items_max)
        try:
            if isinstance(source, ItemsReference):
                await self._scan(source, scanner)
                return _as_named(source, *scanner.finish())
            for line in lines_of(source):
                scanner.feed(line)
            return scanner.finish()[0]
        except InputInvalid as error:
            return _refusal(error.message, error.details)

    async def of_chunk(self, record: BulkRecord, chunk: int) -> dict[int, Any]:
        """Return a chunk's items by index: lines of NDJSON, or values. Raises LogDamaged if they have changed."""
        plan, source = record.accepted_plan, record.bulk.payload.source
        indices = plan.items_of(chunk)
        if not isinstance(source, ItemsReference):
            return {index: source[index] for index in indices}
        data = await self._objects.read_object(source.key, plan.bytes_of(chunk))
        lines = items_in(data)
        if sha256_hex(data) != plan.chunks[chunk - 1].sha256 or len(lines) != len(indices):
            raise LogDamaged(
                f"command {record.command_id}: the items of chunk {chunk} under {source.key} are not those "
                "that were accepted; restore what was written there first",
                command_id=record.command_id,
            )
        return dict(zip(indices, lines, strict=True))

    async def _scan(self, reference: ItemsReference, scanner: ItemsScanner) -> None:
        """Feed the object to the scanner, in a thread of its own and reading one block ahead."""
        size = await self._objects.object_size(reference.key)
        if size is None:
            raise InputInvalid(f"items_key {reference.key}: nothing lies there; upload the items first", errors=[])
        if size > ITEMS_BYTES_MAX:
            raise InputInvalid(f"items_key {reference.key}: expected at most {ITEMS_BYTES_MAX} bytes, found {size}")
        blocks = [range(start, min(start + BLOCK_BYTES, size)) for start in range(0, size, BLOCK_BYTES)]
        block = await self._objects.read_object(reference.key, blocks[0]) if blocks else b""
        for following in [*blocks[1:], range(0)]:
            ahead = asyncio.create_task(self._objects.read_object(reference.key, following))
            try:
                await asyncio.to_thread(scanner.feed, block)
                block = await ahead
            finally:
                ahead.cancel()


def _as_named(reference: ItemsReference, plan: Plan, sha256: str) -> Plan | Rejection:
    if sha256 != reference.sha256:
        message = f"items_sha256: expected {reference.sha256}, found {sha256} under {reference.key}; upload it again"
        return _refusal(message, {"expected_sha256": reference.sha256, "found_sha256": sha256})
    if plan.items_count != reference.items_count:
        message = f"items_count: expected {reference.items_count}, found {plan.items_count} lines; mend the count"
        return _refusal(message, {"expected_count": reference.items_count, "found_count": plan.items_count})
    return plan


def _refusal(message: str, details: dict[str, Any]) -> Rejection:
    return Rejection(code=RejectionCode.INVALID_COMMAND, message=message, details=details)

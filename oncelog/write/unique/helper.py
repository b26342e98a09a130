"""Finishes the writes that another command's record has bound, where its last entry is in the way of a value (V4).

A command that wrote an entry and died would block the value for ever. Its record says the bytes of the few PUTs that
are left: the command that needs the value writes them, and waits for nothing.
"""

from typing import Protocol

from oncelog.domain.bulk.items import ItemChange, change_of
from oncelog.domain.bulk.records import BulkRecord
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.records import CommandRecord
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.ports import UNPUBLISHED, Ports, Watermark
from oncelog.write.event_writer import EventWriter
from oncelog.write.unique.entries import write_entries


class ItemReader(Protocol):
    """Reads the items of bulk commands."""

    async def of_chunk(self, record: BulkRecord, chunk: int) -> dict[int, object]:
        """Return a chunk's items by index; raises LogDamaged."""
        ...


class Helper:
    """Writes the entries and the event that are left of one item or command; never helps further."""

    def __init__(self, ports: Ports, event_writer: EventWriter, items: ItemReader) -> None:
        self._entries = ports.unique_entries
        self._records = ports.records
        self._chunk_records = ports.chunk_records
        self._leases = ports.leases
        self._event_writer = event_writer
        self._items = items

    async def finish(self, entry: UniqueEntry) -> None:
        """Bring the event of a pending entry to a definite end: it is written, or can never be.

        Raises LogDamaged where no record names the entry, SchemaUnsupported where only a newer release can decide the
        command: both say which value waits for which command.
        """
        try:
            if entry.chunk is None:
                await self._finish_command(entry)
            else:
                await self._finish_item(entry, entry.chunk)
        except (LogDamaged, SchemaUnsupported) as error:
            error.message = f"{entry.chain} waits for command {entry.command_id}: {error.message}"
            error.args = (error.message,)
            raise

    async def _finish_command(self, entry: UniqueEntry) -> None:
        record = await self._records.read_record(entry.command_id, entry.record)
        if not isinstance(record, CommandRecord) or entry not in record.entries:
            raise _unfounded(entry)
        if await write_entries(self._entries, record.entries):
            published = await self._published(entry.aggregate)
            await self._event_writer.write(record.own_command(), record, published=published)

    async def _finish_item(self, entry: UniqueEntry, chunk: int) -> None:
        record = await self._records.read_record(entry.command_id, 1)
        bound = await self._chunk_records.read_chunk_record(entry.command_id, chunk, entry.record)
        if not isinstance(record, BulkRecord) or bound is None:
            raise _unfounded(entry)
        binding = next((binding for binding in bound.bindings if binding.index == entry.item), None)
        if binding is None or entry not in bound.entries_of(binding):
            raise _unfounded(entry)
        if not await write_entries(self._entries, bound.entries_of(binding)):
            return
        values = await self._items.of_chunk(record, chunk)
        change = change_of(record.bulk, binding.index, values[binding.index], stored=True)
        if not isinstance(change, ItemChange):
            raise _unfounded(entry)
        await self._event_writer.write_into(
            entry.slot,
            change,
            occurred_at=record.occurred_at,
            definition=bound.definition,
            published=await self._published(change.aggregate_id),
        )

    async def _published(self, aggregate_id: AggregateId) -> Watermark:
        (published,) = await self._leases.published([aggregate_id])
        return published or UNPUBLISHED


def _unfounded(entry: UniqueEntry) -> LogDamaged:
    return LogDamaged(
        f"{entry.key}: expected record {entry.record} of command {entry.command_id} to name this place, found none "
        "that does; restore the record from its versions and run oncelog verify",
        where=entry.key,
    )

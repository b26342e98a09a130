"""The log of events: one immutable object per slot, written by conditional PUT (docs/protocol.md, R1)."""

from functools import partial

import structlog

from oncelog.domain.events import Event, read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import PUBLISHED_THROUGH, PUBLISHED_TOPIC, event_key, stream_folder
from oncelog.offload import offloaded
from oncelog.ports import UNPUBLISHED, StoredEvent, Watermark
from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, Bucket, StoredObject
from oncelog.stores.s3.moved import moved_object
from oncelog.stores.s3.numbered import highest_number

_log = structlog.get_logger()


class S3EventLog:
    """``EventLog`` on a bucket: ``events/{db_name}/{class_id}/{instance_key}/{sequence_number:020d}.json``."""

    def __init__(self, bucket: Bucket, *, keys_per_list_max: int = KEYS_PER_LIST_MAX) -> None:
        self._bucket = bucket
        self._keys_per_list_max = keys_per_list_max

    async def append_event(self, event: Event, *, published_through: Watermark) -> StoredEvent:
        key = event_key(event.aggregate, event.sequence_number)
        metadata = {PUBLISHED_THROUGH: str(published_through.through)}
        if published_through.generation != UNPUBLISHED.generation:
            metadata[PUBLISHED_TOPIC] = str(published_through.generation)
        existing = await self._bucket.put_if_absent(key, event.canonical, metadata=metadata)
        if existing is None:
            return StoredEvent(event, published_through)
        place = (event.aggregate, event.sequence_number)
        return await offloaded(partial(_verified, existing, *place), of=existing.body)

    async def read_event(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent | None:
        found = await self._bucket.get(event_key(aggregate_id, sequence_number))
        if found is None:
            return None
        return await offloaded(partial(_verified, found, aggregate_id, sequence_number), of=found.body)

    async def last_sequence_number(self, aggregate_id: AggregateId, *, after: int = 0) -> int:
        return await highest_number(
            self._bucket, stream_folder(aggregate_id), after=after, keys_per_list_max=self._keys_per_list_max
        )


def _verified(found: StoredObject, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent:
    """Return the event if it is whole and the one that its key names, or raise LogDamaged."""
    where = f"slot {aggregate_id} {sequence_number}"
    event = read_event(found.body, where=where)
    if (event.aggregate_id, event.sequence_number) != (str(aggregate_id), sequence_number):
        raise moved_object(where, expected="event", found=f"{event.aggregate_id} {event.sequence_number}")
    return StoredEvent(event, watermark_of(found, where))


def watermark_of(found: StoredObject, where: str) -> Watermark:
    """Return the watermark that an event was written with, at 0 where it is lost.

    That publishes too much, and never too little (rule R3).
    """
    through = found.metadata.get(PUBLISHED_THROUGH, "")
    generation = found.metadata.get(PUBLISHED_TOPIC, str(UNPUBLISHED.generation))
    if all(text.isascii() and text.isdigit() for text in (through, generation)):
        return Watermark(int(generation), int(through))
    _log.warning("watermark_unreadable", where=where, found=through, generation=generation)
    return UNPUBLISHED

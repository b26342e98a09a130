"""The one reader of many streams: from the archive as far as it reaches, then from the slots one by one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

import structlog

from oncelog.archive.archived_rows import ArchivedRows, Damages
from oncelog.archive.comparison import Archived, Missing, Surplus, archived_alone, compared
from oncelog.archive.event_table import EVENT, KEY
from oncelog.archive.listing import KeptListing, listed_streams
from oncelog.archive.log_part import LogPart, LogPosition, cuts, order_key, pairs
from oncelog.archive.stretch import ChainCheck, EventBatch, EventOrigin, StreamDamage, Stretch, surplus_damage
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.archive import ArchiveManifest, no_manifest
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import EVENTS
from oncelog.errors import LogDamaged, OncelogError, SchemaUnsupported
from oncelog.ports import Archives, EventLog, LargeObjects, ListedStream, LogCatalogue, Ports

BATCH_EVENTS = 1_000
SLOTS_IN_FLIGHT_MAX = 32
BATCHES_AHEAD = 2

_log = structlog.get_logger()

#: Says of a listed stream whether its events are asked for.
Wanted = Callable[[ListedStream], bool]
#: Stretches with their events, some at a time.
Loaded = AsyncIterator[list[Stretch | StreamDamage]]


class LogReader:
    """Reads all events of a class, of a part of it, or of one aggregate, in order and in bounded memory.

    Replay, verification and export fold many streams with it::

        reader = LogReader(ports)
        for part in await reader.parts("shop", "Product", count=8):  # one for each worker's activity
            async for batch in reader.batches(part):
                for event in batch.events:
                    if event.sequence_number == 1:
                        state = Instance(aggregate_id=event.aggregate_id)
                    state = evolve(state, event)
                activity.heartbeat(batch.position)  # resume with batches(part, after=position)

    **Order.** Streams come in the order of their slots' keys (``p1-`` before ``p1``, as S3 lists them), the events of
    one stream by sequence number, each once. A stream may be spread over several batches.

    **Checks.** Each event is held against its checksum, its place and its predecessor's checksum, whichever source it
    came from. A stream that fails is in ``EventBatch.damages`` and is not read on; all others are. If the archive is to
    blame (``origin`` ARCHIVE), the stream is given again **from event 1**, from its slots: fold anew wherever
    ``sequence_number`` is 1, and nothing else need be done.

    **Which events.** All that were in their slots when the reader listed them; events that are written meanwhile may be
    missing. A part costs one LIST per 1,000 slots, one GET per some thousand archived events, and one GET for each
    event that is not in the archive.

    **Memory.** ``BATCHES_AHEAD`` batches of ``batch_events`` events, and of each sorted run of the archive (at most
    eight) one row group. Parsing and hashing take place in a thread, requests run ahead of the consumer.

    Every method raises StoreUnavailable where S3 gives no answer; events not yielded by then are read again.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        slots_only: bool = False,
        tail: bool = True,
        slots_in_flight_max: int = SLOTS_IN_FLIGHT_MAX,
    ) -> None:
        """``slots_only``: leave the archive aside, as a judgement of the log itself has to.

        ``tail`` False: only archived events, without listing a slot. That is faster, since the listing costs more than
        all else, and as recent as the manifest's ``complete_through``; streams that no readable file holds are missing.
        """
        if slots_only and not tail:
            raise ValueError("a reader of slots only has no archive without a tail")
        self._tail = tail
        self._log: EventLog = ports.event_log
        self._catalogue: LogCatalogue = ports.catalogue
        self._archives: Archives = ports.archives
        self._large_objects: LargeObjects = ports.large_objects
        self._slots_only = slots_only
        self._slots_in_flight_max = slots_in_flight_max

    async def classes(self, *, db_name: str | None = None) -> Sequence[tuple[str, str]]:
        """Return ``(db_name, class_id)`` of each class that has events, ``_class`` of each database among them.

        The events of the classes themselves are in ``_class``: a fold of instances under their schemas reads it first.
        """
        return await self._catalogue.class_names(db_name=db_name)

    async def parts(self, db_name: str, class_id: str, *, count: int) -> list[LogPart]:
        """Return at most ``count`` parts of a class, which hold about as many events each and share no stream."""
        whole = LogPart(db_name=db_name, class_id=class_id)
        if count <= 1:
            return [whole]
        return whole.cut_at(cuts(await self._samples(whole, count), count))

    async def batches(
        self,
        part: LogPart,
        *,
        after: LogPosition | None = None,
        batch_events: int = BATCH_EVENTS,
        wanted: Wanted | None = None,
        listed: KeptListing | None = None,
    ) -> AsyncGenerator[EventBatch, None]:
        """Yield the events of a part, ``batch_events`` at a time; ``after``: continue after this event.

        ``after`` is the position of an earlier batch of the same part. ``wanted``: says of a listed stream whether its
        events are given; events of others are neither read from slots nor parsed. ``listed``: the streams of the
        whole part as they were listed before. They are listed again only if the archive has a later manifest by now,
        since that may name events that the listing has not.
        """
        queue: asyncio.Queue[EventBatch | None] = asyncio.Queue(BATCHES_AHEAD)
        loaded = self._loaded(self._compared(part, after, wanted, listed), batch_events)
        producer = asyncio.create_task(self._produce(queue, loaded, after, batch_events))
        try:
            while (batch := await queue.get()) is not None:
                yield batch
            await producer
        finally:
            producer.cancel()
            await asyncio.gather(producer, return_exceptions=True)

    def stream(
        self, aggregate_id: AggregateId, *, batch_events: int = BATCH_EVENTS
    ) -> AsyncGenerator[EventBatch, None]:
        """Yield the events of one aggregate."""
        return self.batches(LogPart.of_stream(aggregate_id), batch_events=batch_events)

    async def _produce(
        self, queue: asyncio.Queue[EventBatch | None], loaded: Loaded, after: LogPosition | None, batch_events: int
    ) -> None:
        try:
            async for batch in self._checked(loaded, after, batch_events):
                await queue.put(batch)
        except Exception:
            await queue.put(None)  # the consumer awaits this task then, and so raises the error
            raise
        await queue.put(None)

    async def _checked(self, loaded: Loaded, after: LogPosition | None, batch_events: int) -> AsyncIterator[EventBatch]:
        check = ChainCheck(after)
        async for stretches in loaded:
            left = iter(stretches)
            while True:
                batch, damage = await asyncio.to_thread(_take, check, left)
                if batch.events or batch.damages:
                    yield batch
                if damage is None:
                    break
                if damage.origin is EventOrigin.ARCHIVE:
                    async for again in self._again(check, AggregateId.parse(damage.aggregate_id), batch_events):
                        yield again

    async def _again(
        self, check: ChainCheck, aggregate_id: AggregateId, batch_events: int
    ) -> AsyncIterator[EventBatch]:
        """Read a stream from its slots alone, after the archive was found to disagree."""
        check.begin_again()
        head = await self._log.last_sequence_number(aggregate_id)
        for first in range(1, head + 1, batch_events):
            numbers = range(first, min(head + 1, first + batch_events))
            stretches = await self._read([Missing(aggregate_id, numbers)])
            batch, damage = await asyncio.to_thread(_take, check, iter(stretches))
            yield batch
            if damage is not None:
                return
        check.leave_out(aggregate_id)

    async def _loaded(
        self, pieces: AsyncIterator[Archived | Missing | Surplus], batch_events: int
    ) -> AsyncIterator[list[Stretch | StreamDamage]]:
        """Yield stretches with their events, about ``batch_events`` together."""
        planned: list[Archived | Missing | StreamDamage] = []
        count = 0
        async for found in pieces:
            if isinstance(found, Surplus):
                planned += [surplus_damage(keys) for keys in found.by_stream]
                continue
            for piece, events in _pieces(found, batch_events):
                planned.append(piece)
                count += events
                if count >= batch_events:
                    yield await self._read(planned)
                    planned, count = [], 0
        if planned:
            yield await self._read(planned)

    async def _compared(
        self,
        part: LogPart,
        after: LogPosition | None,
        wanted: Wanted | None,
        listed: KeptListing | None,
    ) -> AsyncIterator[Archived | Missing | Surplus]:
        folder = f"{EVENTS}{part.db_name}/{part.class_id}/"
        first, begin = part.first, None
        if after is not None:
            begin = AggregateId.parse(after.aggregate_id), after.sequence_number
            first = order_key(begin[0].instance_key)
        # The manifest first: all that it names was in its slots when these are listed.
        manifest = no_manifest(part.db_name, part.class_id) if self._slots_only else await self._manifest(part)
        rows = ArchivedRows(
            self._large_objects,
            manifest.files,
            (KEY, EVENT),
            first=f"{folder}{first}{begin[1] + 1:020d}" if begin else folder + first,
            end=None if part.end is None else folder + part.end,
            damages=Damages(),
        )
        if not self._tail:
            async for archived in archived_alone(rows.column(EVENT)):
                yield archived
            return
        if listed is not None and listed.manifest_checksum == manifest.checksum:
            streams = listed.streams_from(first)
        else:
            streams = listed_streams(self._catalogue, part, first=first)
        async for found in compared(streams, rows.column(EVENT), begin=begin, wanted=wanted):
            yield found

    async def manifest_checksum(self, part: LogPart) -> str:
        """Return the checksum that goes with a listing of the part that begins after this: see ``KeptListing``."""
        return (await self._manifest(part)).checksum

    async def _manifest(self, part: LogPart) -> ArchiveManifest:
        newest = await self._archives.newest_manifest(part.db_name, part.class_id)
        if newest.damage:
            _log.warning("archive_manifest_unreadable", reason=newest.damage)
        return newest.manifest

    async def _read(self, planned: Sequence[Archived | Missing | StreamDamage]) -> list[Stretch | StreamDamage]:
        places = [
            (piece.aggregate_id, number) for piece in planned if isinstance(piece, Missing) for number in piece.numbers
        ]
        read = iter(await bounded_gather(self._slot, places, at_once=self._slots_in_flight_max))
        found: list[Stretch | StreamDamage] = []
        for piece in planned:
            if isinstance(piece, Archived):
                found.append(Stretch(piece.aggregate_id, piece.first, EventOrigin.ARCHIVE, piece.values))
            elif isinstance(piece, Missing):
                events = [next(read) for _ in piece.numbers]
                found.append(Stretch(piece.aggregate_id, piece.numbers.start, EventOrigin.SLOTS, events))
            else:
                found.append(piece)
        return found

    async def _slot(self, place: tuple[AggregateId, int]) -> Event | OncelogError:
        aggregate_id, number = place
        try:
            stored = await self._log.read_event(aggregate_id, number)
        except (LogDamaged, SchemaUnsupported) as error:
            return error
        if stored is None:
            where = f"slot {aggregate_id} {number}"
            return LogDamaged(
                f"{where}: expected an event, found none below the stream's head; restore the object", where=where
            )
        return stored.event

    async def _samples(self, part: LogPart, count: int) -> list[tuple[str, int]]:
        """Return streams of the class, some hundred per part, and how many events there are up to the next of them."""
        samples: list[tuple[str, int]] = []
        async for listed in listed_streams(self._catalogue, part):
            samples.append((listed.aggregate_id.instance_key, listed.head))
            if len(samples) > 200 * count:
                samples = [(key, events + after[1]) for (key, events), after in pairs(samples)]
        return samples


def _take(check: ChainCheck, stretches: Iterator[Stretch | StreamDamage]) -> tuple[EventBatch, StreamDamage | None]:
    batch, damage = EventBatch(), None
    for stretch in stretches:
        if isinstance(stretch, StreamDamage):
            batch.damages.append(stretch)
            continue
        damage = check.take(stretch, batch)
        if damage is not None:
            batch.damages.append(damage)
            break
    check.end(batch)
    return batch, damage


def _pieces(found: Archived | Missing, events_max: int) -> Iterator[tuple[Archived | Missing, int]]:
    """Cut a range too long for a batch into pieces; with the number of events of each."""
    if isinstance(found, Missing):
        for first in range(found.numbers.start, found.numbers.stop, events_max):
            numbers = range(first, min(found.numbers.stop, first + events_max))
            yield Missing(found.aggregate_id, numbers), len(numbers)
        return
    for at in range(0, len(found.values), events_max):
        values = found.values[at : at + events_max]
        yield Archived(found.aggregate_id, found.first + at, values), len(values)

"""Where an aggregate's next event goes: Redis proposes a slot, S3 confirms it (docs/protocol.md, R1)."""

from dataclasses import dataclass, replace

import structlog

from oncelog import metrics
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.ports import EventLog, Lease, Leases, StreamProgress, Watermark
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.write.publication import Publication

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StreamHead:
    """The state that the next event goes on from. ``is_verified``: S3 itself confirmed the head during this attempt.

    ``published``: the watermark, of the generation that the topic had when it was read.
    """

    state: Instance
    published: Watermark
    is_verified: bool


class StreamHeads:
    """Finds stream heads. Each rests on a predecessor that this process itself has read or written."""

    def __init__(
        self, *, log: EventLog, reader: StreamReader, leases: Leases, cache: StateCache, publication: Publication
    ) -> None:
        self._log = log
        self._reader = reader
        self._leases = leases
        self._cache = cache
        self._publication = publication

    async def of(self, aggregate_id: AggregateId, lease: Lease, *, may_be_first: bool) -> StreamHead:
        """Return the stream head that Redis proposes, held against the log.

        ``may_be_first``: the command may be the first of its stream, so that most likely nothing is there where Redis
        knows nothing.
        """
        cached = self._cache.get(aggregate_id)
        if not lease.known:
            if may_be_first and not cached and not lease.head:
                # Slot 1 has no predecessor to read, and the PUT itself finds out if it is taken.
                return StreamHead(Instance(aggregate_id=str(aggregate_id)), lease.published, is_verified=False)
            return await self.reloaded(aggregate_id)
        if cached and cached.sequence_number >= lease.head:
            return StreamHead(cached, lease.published.at_most(cached.sequence_number), is_verified=False)
        stored = await self._log.read_event(aggregate_id, lease.head)
        if stored is None:
            log.warning("redis_overstates_head", aggregate_id=str(aggregate_id), head=lease.head)
            return await self.reloaded(aggregate_id)
        if lease.state and lease.state.checksum == stored.event.checksum:
            state = lease.state
            self._cache.put(aggregate_id, state)
        else:
            state = await self._reader.at(aggregate_id, lease.head)
        return StreamHead(state, lease.published.at_most(lease.head), is_verified=False)

    async def reloaded(self, aggregate_id: AggregateId) -> StreamHead:
        """Read head and watermark from S3, and replace those that Redis has."""
        metrics.HEADS_RELOADED.inc()
        head = await self.latest(aggregate_id)
        await self._leases.forget_stream(aggregate_id)
        if head.state.sequence_number:
            known = StreamProgress(aggregate_id, state=head.state, published=head.published)
            await self._leases.save_progress([known], "")
        return head

    async def latest(self, aggregate_id: AggregateId) -> StreamHead:
        """Learn head and watermark from S3, and leave Redis as it is: another attempt is changing both."""
        state, watermark = await self._reader.latest(aggregate_id)
        published = await self._publication.current(aggregate_id, watermark)
        if state.sequence_number:
            self._cache.put(aggregate_id, state)
        return StreamHead(state, published, is_verified=True)

    async def verified(self, aggregate_id: AggregateId, head: StreamHead) -> StreamHead:
        """Verify against S3 that this is the stream's head, or reload it. A rejection may be recorded only on a
        verified head.

        Redis may be behind, and a recorded rejection is for ever.
        """
        if head.is_verified:
            return head
        if await self._log.read_event(aggregate_id, head.state.sequence_number + 1):
            return await self.reloaded(aggregate_id)
        return replace(head, is_verified=True)

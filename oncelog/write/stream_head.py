"""Where an aggregate's next event goes: what Redis proposes, held against what S3 has (docs/protocol.md, R1)."""

from dataclasses import dataclass, replace

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.ports import EventLog, Lease, Leases, StreamProgress, Watermark
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.write.publication import Publication

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StreamHead:
    """The state that the next event goes on from. ``seen_as_head``: S3 itself said so during this attempt.

    ``published``: the watermark, of the generation that the topic had when it was read.
    """

    state: Instance
    published: Watermark
    seen_as_head: bool


class StreamHeads:
    """Finds positions. Each rests on a predecessor that this process itself has read or written."""

    def __init__(
        self, *, log: EventLog, reader: StreamReader, leases: Leases, cache: StateCache, publication: Publication
    ) -> None:
        self._log = log
        self._reader = reader
        self._leases = leases
        self._cache = cache
        self._publication = publication

    async def of(self, aggregate_id: AggregateId, turn: Lease, *, creating: bool) -> StreamHead:
        """Turn what Redis proposes into a position.

        ``creating``: what comes next creates the instance, so that most likely nothing is there.
        """
        cached = self._cache.get(aggregate_id)
        if not turn.known:
            if creating and not cached:
                # Slot 1 has no predecessor to read, and the PUT itself finds out if it is taken.
                return StreamHead(Instance(aggregate_id=str(aggregate_id)), turn.published, seen_as_head=False)
            return await self.recovered(aggregate_id)
        if cached and cached.sequence_number >= turn.head:
            return StreamHead(cached, turn.published.at_most(cached.sequence_number), seen_as_head=False)
        stored = await self._log.read(aggregate_id, turn.head)
        if stored is None:
            log.warning("redis_overstates_head", aggregate_id=str(aggregate_id), head=turn.head)
            return await self.recovered(aggregate_id)
        if turn.state and turn.state.checksum == stored.event.checksum:
            state = turn.state
            self._cache.put(aggregate_id, state)
        else:
            state = await self._reader.at(aggregate_id, turn.head)
        return StreamHead(state, turn.published.at_most(turn.head), seen_as_head=False)

    async def recovered(self, aggregate_id: AggregateId) -> StreamHead:
        """Learn head and watermark from S3, and make Redis forget what it said of them."""
        position = await self.latest(aggregate_id)
        await self._leases.forget(aggregate_id)
        if position.state.sequence_number:
            known = StreamProgress(aggregate_id, state=position.state, published=position.published)
            await self._leases.settle([known], "")
        return position

    async def latest(self, aggregate_id: AggregateId) -> StreamHead:
        """Learn head and watermark from S3, and leave Redis as it is: another attempt is changing both."""
        state, watermark = await self._reader.latest(aggregate_id)
        published = await self._publication.current(aggregate_id, watermark)
        if state.sequence_number:
            self._cache.put(aggregate_id, state)
        return StreamHead(state, published, seen_as_head=True)

    async def proven(self, aggregate_id: AggregateId, position: StreamHead) -> StreamHead:
        """Return a position that S3 itself shows to be the head, this one if it is: a rejection may rest on no other.

        Redis may be behind, and a recorded rejection is for ever.
        """
        if position.seen_as_head:
            return position
        if await self._log.read(aggregate_id, position.state.sequence_number + 1):
            return await self.recovered(aggregate_id)
        return replace(position, seen_as_head=True)

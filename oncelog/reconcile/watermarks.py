"""The watermarks of a group of aggregates: learned by one question to Redis, and raised by one request."""

from collections.abc import Sequence

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import Leases, StreamProgress, Watermark


class GroupWatermarks:
    """The ``Watermarks`` of a publication, for aggregates whose watermark the caller has at hand.

    A watermark that is a little old, or raised a little late, publishes an event twice and loses none.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._known: dict[AggregateId, Watermark] = {}
        self._raised: dict[AggregateId, StreamProgress] = {}

    def know(self, aggregate_id: AggregateId, watermark: Watermark) -> None:
        """Answer with this watermark when it is asked for."""
        self._known[aggregate_id] = watermark

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Watermark | None]:
        if all(aggregate_id in self._known for aggregate_id in aggregate_ids):
            return [self._known[aggregate_id] for aggregate_id in aggregate_ids]
        return await self._leases.published(aggregate_ids)

    async def settle(self, settlements: Sequence[StreamProgress], _holder: str) -> None:
        """Keep the watermarks until ``flush``; of a long stream, of which the next part is sent, raise it at once."""
        later = [settlement for settlement in settlements if settlement.aggregate_id in self._raised]
        self._raised.update({settlement.aggregate_id: settlement for settlement in settlements})
        if later:
            await self._leases.settle(later, "")

    async def flush(self) -> None:
        """Raise the watermarks that were kept, and forget what is known; raises StoreUnavailable."""
        raised, self._raised, self._known = list(self._raised.values()), {}, {}
        if raised:
            await self._leases.settle(raised, "")

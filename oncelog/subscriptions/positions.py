"""The position of each aggregate: the last sequence number that a subscription delivered of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from cachetools import LRUCache

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid

#: Reads from the caller's own store, for aggregate IDs, the sequence numbers that it has; it leaves out all others.
ReadPositions = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


class Positions:
    """The positions of at most ``aggregates_max`` aggregates in memory.

    With ``read``, the caller keeps them, and memory is a cache. Without it, they travel in the checkpoint, and one
    aggregate too many is refused, since a forgotten position would let an event come twice.
    """

    def __init__(self, name: str, known: Mapping[str, int], *, read: ReadPositions | None, aggregates_max: int) -> None:
        self._name = name
        self._read = read
        self._aggregates_max = aggregates_max
        self._numbers: dict[str, int] | LRUCache[str, int] = LRUCache(aggregates_max) if read else dict(known)

    def number(self, aggregate_id: AggregateId) -> int:
        """Return the position in memory, 0 where none is."""
        return self._numbers.get(str(aggregate_id), 0)

    async def numbers(self, aggregate_ids: Iterable[AggregateId]) -> dict[AggregateId, int]:
        """Return the position of each, 0 where there is none; reads those not in memory from the caller's store."""
        numbers = {each: self.number(each) for each in aggregate_ids}
        missing = {str(each): each for each, number in numbers.items() if number == 0}
        if self._read is not None and missing:
            read = await self._read(list(missing))
            numbers |= {each: read.get(name, 0) for name, each in missing.items()}
        return numbers

    def put(self, aggregate_id: AggregateId, number: int) -> None:
        """Move the position on; raises InputInvalid for one aggregate too many."""
        key = str(aggregate_id)
        if self._read is None and key not in self._numbers and len(self._numbers) >= self._aggregates_max:
            raise InputInvalid(
                f"subscription {self._name}: expected at most {self._aggregates_max} aggregates, found one more: "
                f"{key}; keep positions beside your data and pass positions=, or raise aggregates_max"
            )
        self._numbers[key] = number

    def kept(self) -> dict[str, int]:
        """Return the positions that the checkpoint has to carry."""
        return {} if self._read is not None else dict(self._numbers)

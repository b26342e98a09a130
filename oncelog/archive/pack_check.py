"""Holds events to be packed against the chain; its last link may lie in the archive already."""

from oncelog.archive.comparison import Archived, Surplus
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import OncelogError
from oncelog.ports import StoredEvent


class PackCheck:
    """Takes the archived and the missing events of streams in order. ``damages``: events not archived, and why."""

    def __init__(self) -> None:
        self.damages: list[str] = []
        self._aggregate_id: AggregateId | None = None
        self._number = 0
        self._checksum: str | None = None
        self._is_damaged = False

    def archived(self, piece: Archived) -> None:
        """Remember the last link that is archived."""
        self._enter(piece.aggregate_id)
        self._number = piece.first + len(piece.values) - 1
        self._checksum = piece.values[-1]

    def surplus(self, found: Surplus) -> None:
        """Note archived events that no slot holds."""
        self.damages.append(f"{found.keys[0]}: archived, yet no event is in that slot; run oncelog verify")

    def sound(
        self, aggregate_id: AggregateId, number: int, found: StoredEvent | OncelogError | None
    ) -> StoredEvent | None:
        """Return the event if it is the next link of its stream; else the rest of the stream is left out."""
        self._enter(aggregate_id)
        if self._is_damaged:
            return None
        if isinstance(found, StoredEvent) and self._follows(found, number):
            self._number, self._checksum = number, found.event.checksum
            return found
        self.damages.append(self._problem(f"slot {aggregate_id} {number}", found))
        self._is_damaged = True
        return None

    def _follows(self, stored: StoredEvent, number: int) -> bool:
        return number == self._number + 1 and stored.event.previous_checksum == self._checksum

    def _problem(self, slot: str, found: StoredEvent | OncelogError | None) -> str:
        if isinstance(found, OncelogError):
            return found.message
        if found is None:
            return f"{slot}: expected an event, found none; restore the object"
        return f"{slot}: it does not follow event {self._number}; run oncelog verify"

    def _enter(self, aggregate_id: AggregateId) -> None:
        if aggregate_id != self._aggregate_id:
            self._aggregate_id, self._number, self._checksum, self._is_damaged = aggregate_id, 0, None, False

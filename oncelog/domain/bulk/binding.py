"""The bindings of a chunk's records, and their conflict outcomes: decided by slots and places alone.

Several items of one aggregate in one record take consecutive slots, which are written in order. The first item
with a slot, or a place in the chain of a unique value, that turns out to be another's conflicts. It invalidates all
items after it on that aggregate in that record; their slots are never tried. So every attempt, however many are alive,
sees the same items conflicted and invalidated, and the next record, which binds exactly those, is the same from every
writer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from oncelog.domain.bulk.items import ItemChange, shortened
from oncelog.domain.bulk.records import Binding, BoundSlot, ChunkRecord
from oncelog.domain.events import Event
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import Place, UniqueEntry

#: Gives the ID of the event in a slot of an aggregate, or None if the slot is free (or was not read yet).
EventIn = Callable[[str, int], str | None]

#: Tells whether the place of an entry holds that very entry; None if it is free (or was not read yet).
IsOwn = Callable[[UniqueEntry], bool | None]


_NO_PLACES: Mapping[int, Sequence[Place]] = {}


class ConflictOutcome(StrEnum):
    """The conflict outcome of one binding. ``OPEN``: not yet decided."""

    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    CONFLICTED = "DISPLACED"
    INVALIDATED = "VOID"
    OPEN = "OPEN"


def decide_each(
    state: Instance,
    changes: Sequence[ItemChange],
    *,
    occurred_at: str,
    class_schema: ClassSchema | None = None,
) -> list[Event | Rejection]:
    """Decide on one aggregate's changes in their order, each on the state after the changes before it."""
    decisions: list[Event | Rejection] = []
    for change in changes:
        decision = decide(state, change, occurred_at=occurred_at, class_schema=class_schema)
        decisions.append(decision)
        if isinstance(decision, Event):
            state = evolve(state, decision)
    return decisions


def bindings_of(
    aggregate_id: str,
    changes: Sequence[ItemChange],
    decisions: Sequence[Event | Rejection],
    places: Mapping[int, Sequence[Place]] = _NO_PLACES,
) -> list[Binding]:
    """Return the bindings of one aggregate's changes by their decisions. ``places``: by item, of unique values."""
    return [
        Binding(
            index=change.index,
            aggregate_id=aggregate_id,
            slot=decision.sequence_number,
            places=tuple(places.get(change.index, ())) or None,
        )
        if isinstance(decision, Event)
        else Binding(index=change.index, aggregate_id=aggregate_id, rejection=shortened(decision))
        for change, decision in zip(changes, decisions, strict=True)
    ]


def bind(
    state: Instance, changes: Sequence[ItemChange], *, occurred_at: str, class_schema: ClassSchema | None = None
) -> list[Binding]:
    """Decide on one aggregate's changes, and return their bindings."""
    decisions = decide_each(state, changes, occurred_at=occurred_at, class_schema=class_schema)
    return bindings_of(state.aggregate_id, changes, decisions)


def by_aggregate(bindings: Iterable[Binding]) -> dict[str, list[Binding]]:
    """Return the bindings of each aggregate, in order; bindings of invalid items, which have none, are left out."""
    found: dict[str, list[Binding]] = {}
    for binding in bindings:
        if binding.aggregate_id is not None:
            found.setdefault(binding.aggregate_id, []).append(binding)
    return found


def conflict_outcomes(record: ChunkRecord, event_in: EventIn, is_own: IsOwn) -> dict[int, ConflictOutcome]:
    """Return the conflict outcome of each of a record's bindings, by index.

    An item is applied only where its slot and all of its places are its own: the slot alone may have been taken by the
    item's event through a further record (V3).
    """
    found = {binding.index: ConflictOutcome.REJECTED for binding in record.bindings}
    for bindings in by_aggregate(record.bindings).values():
        ahead: ConflictOutcome | None = None  # the outcome of all items after the first that was not applied
        for binding in bindings:
            if ahead is not None:
                found[binding.index] = ahead
            elif slot := binding.bound_slot:
                own = [is_own(entry) for entry in record.entries_of(binding)]
                outcome = _outcome_in_slot(slot, derive_event_id(record.command_id, binding.index), event_in)
                if False in own:
                    outcome = ConflictOutcome.CONFLICTED
                elif None in own and outcome is ConflictOutcome.APPLIED:
                    outcome = ConflictOutcome.OPEN
                found[binding.index] = outcome
                ahead = {
                    ConflictOutcome.CONFLICTED: ConflictOutcome.INVALIDATED,
                    ConflictOutcome.OPEN: ConflictOutcome.OPEN,
                }.get(outcome)
    return found


def to_retry(became: dict[int, ConflictOutcome]) -> list[int]:
    """Return the items that the next record must bind: those conflicted and invalidated, in their order.

    Raises ValueError while one of them is open: the next record may be written only when every item has a definite end.
    """
    if ConflictOutcome.OPEN in became.values():
        raise ValueError("a further record may be written only when every item has a definite end")
    return sorted(
        index
        for index, outcome in became.items()
        if outcome in (ConflictOutcome.CONFLICTED, ConflictOutcome.INVALIDATED)
    )


def last_bindings(records: Iterable[ChunkRecord]) -> list[Binding]:
    """Return each item's binding in the last record that binds it, in order of items; ``records`` by number."""
    found = {binding.index: binding for record in records for binding in record.bindings}
    return [found[index] for index in sorted(found)]


def _outcome_in_slot(slot: BoundSlot, own_event_id: str, event_in: EventIn) -> ConflictOutcome:
    event_id = event_in(slot.aggregate_id, slot.number)
    if event_id is None:
        return ConflictOutcome.OPEN
    return ConflictOutcome.APPLIED if event_id == own_event_id else ConflictOutcome.CONFLICTED

"""Decisions in the model of unique constraints: the next record of a command, or the next thing to learn for it."""

from enum import StrEnum
from typing import NamedTuple

from tests.model.unique_state import (
    AGGREGATES,
    OVER,
    PENDING,
    REJECTED,
    VALUES,
    Attempt,
    Binding,
    Bucket,
    Entry,
    Event,
    Item,
    Kind,
    Record,
    event_after,
    holder_by,
)


class UniqueRule(StrEnum):
    """Rules that may be left out, to see what each is there for."""

    RECORD = "V1: the record is written before its first entry"
    NAMED = "V1: an entry is written only into the place that its record names"
    LAST_READ = "V2: a place is named only after the entry before it was read and is over"
    PENDING = "V2: an entry is not over while its slot is empty"
    LOST = "V2: an entry is over once another place that its record names for the same event holds another's entry"
    ENTRIES_FIRST = "V3: an event is written after all of its entries"
    CONDITIONAL = "V3: an entry is written only if its place is free"
    OWN = "V3: an entry is an item's own only if command, record and item are the same"
    ORDER = "V3: the entries of an event are written in one order of values"
    PLACES_AND_SLOT = "V3: an item of a bulk has succeeded only if its places and its slot are its own"
    SLOT_BEFORE = "V3: the entries of a bulk's item are written once the slot before holds what it was decided on"
    HELP = "V4: an attempt that finds the last entry pending writes what is left of that entry's item"
    SEEN = "V5: a rejection needs the command's own aggregate to be where it was decided on, as S3 shows it"
    HOLDER_FIRST = "V5: S3 shows the own aggregate after the holder, so that both were so at one moment"
    DEFINITION = "V6: no aggregate goes back to a definition without the constraint"


class Decision(NamedTuple):
    """The next record, as far as an attempt knows.

    ``wanted``: the first value whose chain is to be read, and the aggregate it is for. ``unproven``: aggregates that a
    rejection rests on, and that S3 has not shown to be where they are decided on.
    """

    record: Record
    wanted: tuple[int, int] | None
    unproven: set[int]


def decide(
    bucket: Bucket, command: int, items: tuple[Item, ...], attempt: Attempt, without: frozenset[UniqueRule]
) -> Decision:
    """Decide the open items in their order, each on the state that the one before leaves, up to an unknown value."""
    read = {aggregate: bucket.event_at(aggregate, head) for aggregate, head in attempt.heads}
    states, heads = dict(read), dict(attempt.heads)
    record: list[Binding] = []
    wanted: tuple[int, int] | None = None
    for number in attempt.open:
        item = items[number]
        before = states[item.aggregate]
        event = event_after(before, item, (command, number), definition=attempt.definition)
        reason = _misfit(before, item)
        new = () if reason else tuple(value for value in event.held if value not in before.held)
        if not reason:
            reason = _held_by_another(attempt, item.aggregate, new)
        unknown = () if reason else _unknown(attempt, item.aggregate, new, read[item.aggregate])
        if unknown:
            wanted = unknown[0], item.aggregate
            break
        if reason:
            record.append(Binding(number, item.aggregate, REJECTED, definition=attempt.definition, reason=reason))
            continue
        states[item.aggregate], heads[item.aggregate] = event, heads[item.aggregate] + 1
        places = tuple((value, place) for value in new for known, place, _ in attempt.ends if known == value)
        record.append(Binding(number, item.aggregate, heads[item.aggregate], places, attempt.definition))
    return Decision(tuple(record), wanted, _unproven(record, attempt, without))


def _misfit(before: Event, item: Item) -> str:
    if before.exists == (item.kind is Kind.CREATE):
        return "exists" if before.exists else "is not there"
    return ""


def _held_by_another(attempt: Attempt, aggregate: int, new: tuple[int, ...]) -> str:
    holders = {value: holder for value, _, holder in attempt.ends}
    for value in new:
        if holders.get(value, OVER) not in (OVER, aggregate):
            return f"{AGGREGATES[holders[value]]} holds {VALUES[value]}"
    return ""


def _unknown(attempt: Attempt, aggregate: int, new: tuple[int, ...], read: Event) -> tuple[int, ...]:
    """Return the values whose chains are to be read, again if the aggregate is further than the attempt thinks.

    A value that the aggregate itself holds is free for an item if an earlier item of the record lets it go.
    """
    holders = {value: holder for value, _, holder in attempt.ends}
    known = {value for value in new if value in holders and (holders[value] != aggregate or value in read.held)}
    return tuple(value for value in new if value not in known)


def _unproven(record: list[Binding], attempt: Attempt, without: frozenset[UniqueRule]) -> set[int]:
    if UniqueRule.SEEN in without:
        return set()
    rejected = {binding.aggregate for binding in record if binding.slot == REJECTED}
    needed = {aggregate for aggregate, _ in attempt.heads} if UniqueRule.HOLDER_FIRST in without else rejected
    return needed - set(attempt.seen)


def judged(bucket: Bucket, value: int, entry: Entry, without: frozenset[UniqueRule]) -> int:
    """Judge an entry as ``holder_by`` does; without one of two rules of V2, wrongly."""
    holder = holder_by(bucket, value, entry, lost_is_over=UniqueRule.LOST not in without)
    return OVER if holder == PENDING and UniqueRule.PENDING in without else holder

"""Unique constraints as an executable model: commands that bring in the same values, on several aggregates.

Every step is one request to S3 and so atomic; facts that can never change are read along. Redis is left out, as in
``batches``: a first record may rest on a head, or an end of a chain, that is out of date (``lies``).

``unique_search`` tries every interleaving. ``UniqueRule`` names what the protocol rests on (``docs/protocol.md``, V1
to V6); without one of the rules the search finds a violation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from tests.model.search import Violation
from tests.model.unique_decision import Decision, UniqueRule, decide, judged
from tests.model.unique_put import put_entry, put_event, with_changed
from tests.model.unique_state import (
    AGGREGATES,
    DONE,
    NOTHING,
    OVER,
    PENDING,
    REJECTED,
    VALUES,
    Attempt,
    Bucket,
    Entry,
    Kind,
    Order,
    Record,
    Target,
    entry_of,
    has_constraint,
)

RECORDS_MAX = 7
"""No command needs more records in any configuration searched."""


class Move(NamedTuple):
    """One request: in words, the attempt and S3 afterwards, and whether it went by what is out of date."""

    words: str
    attempt: Attempt
    bucket: Bucket
    lied: bool = False


@dataclass(frozen=True)
class Unique:
    """The bounds of a search.

    ``lies``: how often a first record rests on what is out of date. ``deaths``: how often an attempt dies and starts
    again. ``definition``: the class's at the beginning, with the constraint if it is odd. ``redefinitions``: how often
    the class gets the next one; a command that covers gives it the constraint. ``parallel``: whether an attempt at a
    bulk command writes to its aggregates in any order, each aggregate's items one after the other.
    """

    orders: tuple[Order, ...]
    lies: int = 0
    deaths: int = 0
    definition: int = 1
    redefinitions: int = 0
    parallel: bool = False
    without: frozenset[UniqueRule] = frozenset()

    def start(self) -> Bucket:
        """Return S3 as the commands left it that came to their ends before."""
        bucket = Bucket(((),) * len(AGGREGATES), ((),) * len(VALUES), ((),) * len(self.orders), self.definition)
        for command, order in enumerate(self.orders):
            attempt = DONE if order.attempts else Attempt()
            while attempt != DONE:
                _, attempt, bucket, _ = next(self.moves(bucket, command, attempt))
        return bucket

    def moves(self, bucket: Bucket, command: int, attempt: Attempt, *, may_lie: bool = False) -> Iterator[Move]:
        """Yield whatever the attempt's next request may lead to. A further record rests on S3, and never lies."""
        step = getattr(self, f"_{attempt.at}")
        if attempt.at in ("look", "value"):
            yield from step(bucket, command, attempt, may_lie and not attempt.number)
        else:
            yield from step(bucket, command, attempt)

    def _begin(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """Read the command's records: the last one binds. A command that covers defines the constraint first."""
        items, records = self.orders[command].items, bucket.records[command]
        if items[0].kind is Kind.COVER and not has_constraint(bucket.definition):
            yield Move("defines the constraint", attempt, bucket._replace(definition=bucket.definition + 1))
        elif records:
            yield Move(f"finds its record {len(records)}", self._adopted(bucket, command, len(records)), bucket)
        else:
            yield Move("finds no record", Attempt("look", open=tuple(range(len(items)))), bucket)

    def _look(self, bucket: Bucket, command: int, attempt: Attempt, may_lie: bool) -> Iterator[Move]:
        """Learn heads, and the definition; it may be out of date, but not older than an event that was read."""
        items = self.orders[command].items
        aggregates = sorted({items[item].aggregate for item in attempt.open})
        true = tuple(len(bucket.logs[aggregate]) for aggregate in aggregates)
        for heads in product(*(range(head + 1) for head in true)) if may_lie else [true]:
            pairs = tuple(zip(aggregates, heads, strict=True))
            words = ", ".join(f"takes {AGGREGATES[aggregate]} to be at {head}" for aggregate, head in pairs)
            for definition in range(self._oldest_known(bucket, command, pairs), bucket.definition + 1):
                learned = attempt._replace(heads=pairs, definition=definition, late=bucket.aggregates_beyond(pairs))
                after = self._next_look(bucket, command, learned)
                older = f"; goes by definition {definition}" if definition < bucket.definition else ""
                yield Move(words + older, after, bucket, heads != true)

    def _oldest_known(self, bucket: Bucket, command: int, heads: tuple[tuple[int, int], ...]) -> int:
        """Return the oldest definition that an attempt may go by."""
        if self.orders[command].items[0].kind is Kind.COVER:
            return bucket.definition
        if UniqueRule.DEFINITION in self.without:
            return self.definition
        return max(self.definition, *(bucket.event_at(aggregate, head).definition for aggregate, head in heads))

    def _value(self, bucket: Bucket, command: int, attempt: Attempt, may_lie: bool) -> Iterator[Move]:
        """Find the end of a wanted value's chain. No request is needed to take it for empty."""
        wanted = self._decide(bucket, command, attempt).wanted
        assert wanted is not None
        value, chain = wanted[0], bucket.chains[wanted[0]]
        for end in range(len(chain) + 1) if may_lie else [len(chain)]:
            if end and UniqueRule.LAST_READ not in self.without:
                after = attempt._replace(at="judge", last=(chain[end - 1], end))
            else:
                learned = attempt._replace(ends=(*attempt.ends, (value, end + 1, OVER)))
                after = self._next_look(bucket, command, learned)
            yield Move(f"takes the chain of {VALUES[value]} to end at {end}", after, bucket, end < len(chain))

    def _judge(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """Read the log of the aggregate that the last entry of the chain is about."""
        wanted = self._decide(bucket, command, attempt).wanted
        assert wanted is not None
        assert attempt.last is not None
        (value, aggregate), (entry, place) = wanted, attempt.last
        name = VALUES[value]
        holder = judged(bucket, value, entry, self.without)
        if holder == PENDING:
            if UniqueRule.HELP not in self.without:
                after = Attempt("put", targets=(Target(entry),))
                yield Move(f"sees {name}/{place} pending, helps C{entry.command}", after, bucket)
            return
        if holder == aggregate and value not in bucket.event_at(aggregate, dict(attempt.heads)[aggregate]).held:
            yield Move(f"sees that {AGGREGATES[aggregate]} holds {name} itself by now", Attempt(), bucket)
            return
        words = f"sees {name}/{place} over" if holder == OVER else f"sees that {AGGREGATES[holder]} holds {name}"
        late = attempt.late if holder == OVER else bucket.aggregates_beyond(attempt.heads)
        learned = attempt._replace(ends=(*attempt.ends, (value, place + 1, holder)), last=None, late=late)
        yield Move(words, self._next_look(bucket, command, learned), bucket)

    def _prove(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """Look whether an aggregate is still where a rejection was decided on."""
        aggregate = min(self._decide(bucket, command, attempt).unproven)
        slot = dict(attempt.heads)[aggregate] + 1
        name = f"{AGGREGATES[aggregate]}/{slot}"
        if slot > len(bucket.logs[aggregate]):
            proven = attempt._replace(seen=(*attempt.seen, aggregate))
            yield Move(f"sees {name} free", self._next_look(bucket, command, proven), bucket)
        else:
            yield Move(f"sees {name} taken", Attempt("look", attempt.number, attempt.open), bucket)

    def _bind(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """Write the next record; the record under its number binds, whichever attempt wrote it."""
        record, number, records = self._decide(bucket, command, attempt).record, attempt.number + 1, bucket.records
        if number <= len(records[command]):
            yield Move(f"finds its record {number}", self._adopted(bucket, command, number), bucket)
            return
        if UniqueRule.RECORD in self.without:
            yield from self._early_entries(bucket, attempt, command, number, record)
        if any(binding.slot == REJECTED and binding.aggregate in attempt.late for binding in record):
            raise Violation(f"C{command} is rejected on a state that was not the head when it had to be")
        if number > RECORDS_MAX:
            raise Violation(f"C{command} is pushed aside again and again")
        written = bucket._replace(records=with_changed(records, command, (*records[command], record)))
        words = f"writes record {number}: {'; '.join(map(str, record))}"
        yield Move(words, self._adopted(written, command, number), written)

    def _put(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """PUT one object of a target: its next entry or, once all are its own, its event."""
        if UniqueRule.SLOT_BEFORE in self.without and attempt.number:
            record = bucket.records[command][attempt.number - 1]
            yield from self._early_entries(bucket, attempt, command, attempt.number, record)
        for target in attempt.targets:
            binding = bucket.binding_of(target.entry)
            if binding is None:  # only without rule RECORD: the entry does not say what its command was
                continue
            left = [place for place in range(len(binding.places)) if place not in target.written]
            for place in left if UniqueRule.ORDER in self.without else left[:1]:
                words, own, changed = put_entry(bucket, target.entry, binding.places[place], self.without)
                further = target._replace(written=tuple(sorted((*target.written, place))))
                others = tuple(further if other == target else other for other in attempt.targets)
                after = attempt._replace(targets=others)
                yield Move(words, after if own else self._passed(changed, command, attempt, target, own=False), changed)
            if not left or self._slot_tells(bucket, target.entry) or UniqueRule.ENTRIES_FIRST in self.without:
                item = self.orders[target.entry.command].items[target.entry.item]
                words, own, changed = put_event(bucket, target.entry, item, definition=binding.definition)
                yield Move(words, self._passed(changed, command, attempt, target, own=own), changed)

    def _slot_tells(self, bucket: Bucket, target: Entry) -> bool:
        """Return whether the slot, looked at first, tells that the target is at its end."""
        event = bucket.event_at(target.aggregate, target.slot)
        own = (event.command, event.item) == (target.command, target.item)
        single = len(self.orders[target.command].items) == 1
        return event != NOTHING and (not own or single or UniqueRule.PLACES_AND_SLOT in self.without)

    def _passed(self, bucket: Bucket, command: int, attempt: Attempt, target: Target, *, own: bool) -> Attempt:
        """Go on after a target has come to its end: with the record's next item, or again from the beginning."""
        if not attempt.number:  # it was another's
            return Attempt()
        displaced = attempt.open if own else (*attempt.open, target.entry.item)
        others = tuple(other for other in attempt.targets if other != target)
        record = bucket.records[command][attempt.number - 1]
        later = tuple(binding for binding in record if binding.item > target.entry.item)
        if self.parallel:
            later = tuple(binding for binding in later if binding.aggregate == target.entry.aggregate)
        return _gone_on(self._with_next(command, Attempt("put", attempt.number, displaced, targets=others), later))

    def _early_entries(
        self, bucket: Bucket, attempt: Attempt, command: int, number: int, record: Record
    ) -> Iterator[Move]:
        """Write entries before their time; only without rule RECORD or SLOT_BEFORE."""
        for binding in record:
            for place in binding.places:
                words, _, changed = put_entry(bucket, entry_of(command, number, binding), place, self.without)
                if changed != bucket:
                    yield Move(words, attempt, changed)

    def _adopted(self, bucket: Bucket, command: int, number: int) -> Attempt:
        """Go for the items that a record binds: for the first or, in parallel, for the first of each aggregate."""
        attempt, record = Attempt("put", number), bucket.records[command][number - 1]
        if not self.parallel:
            return _gone_on(self._with_next(command, attempt, record))
        for aggregate in sorted({binding.aggregate for binding in record}):
            own = tuple(binding for binding in record if binding.aggregate == aggregate)
            attempt = self._with_next(command, attempt, own)
        return _gone_on(attempt)

    def _with_next(self, command: int, attempt: Attempt, record: Record) -> Attempt:
        """Add the first item that a part of a record binds to a slot.

        An item after a displaced one of its aggregate is void, and bound again as well.
        """
        items, displaced, targets = self.orders[command].items, attempt.open, attempt.targets
        for binding in record:
            if binding.aggregate in {items[item].aggregate for item in displaced}:
                displaced = (*displaced, binding.item)
            elif binding.slot != REJECTED:
                targets = (*targets, Target(entry_of(command, attempt.number, binding)))
                break
        return attempt._replace(open=tuple(sorted(displaced)), targets=tuple(sorted(targets)))

    def _next_look(self, bucket: Bucket, command: int, attempt: Attempt) -> Attempt:
        """Go for the next thing that is not known yet, or for the record."""
        decision = self._decide(bucket, command, attempt)
        prove = decision.unproven and (not decision.wanted or UniqueRule.HOLDER_FIRST in self.without)
        return attempt._replace(at="prove" if prove else "value" if decision.wanted else "bind")

    def _decide(self, bucket: Bucket, command: int, attempt: Attempt) -> Decision:
        return decide(bucket, command, self.orders[command].items, attempt, self.without)


def _gone_on(attempt: Attempt) -> Attempt:
    """Go on to what is left to write, to a further record, or to the end."""
    if attempt.targets:
        return attempt
    return Attempt("look", attempt.number, attempt.open) if attempt.open else DONE

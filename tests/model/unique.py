"""Unique constraints as an executable model: commands that bring in the same values, on several aggregates.

Every step is one request to S3 and so atomic; what can never change any more is read along. Redis is left out, as in
``batches``: a first record may rest on a head, or an end of a chain, that is out of date (``lies``).

``unique_search`` tries every interleaving. ``UniqueRule`` names what the protocol rests on (``docs/protocol.md``, V1
to V6); without one of the rules the search finds a violation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from tests.model.search import Violation
from tests.model.unique_decision import Decision, UniqueRule, decide
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
    entry_of,
    event_after,
    holder_by,
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
    again. ``defined``: whether the class has its constraint from the beginning.
    """

    orders: tuple[Order, ...]
    lies: int = 0
    deaths: int = 0
    defined: bool = True
    without: frozenset[UniqueRule] = frozenset()

    def start(self) -> Bucket:
        """Return S3 as the commands left it that came to their ends before."""
        bucket = Bucket(((),) * len(AGGREGATES), ((),) * len(VALUES), ((),) * len(self.orders), self.defined)
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
        if items[0].kind is Kind.COVER and not bucket.defined:
            yield Move("defines the constraint", attempt, bucket._replace(defined=True))
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
            for covered in {bucket.defined, bucket.defined and not self._may_know_older(bucket, command, pairs)}:
                learned = attempt._replace(heads=pairs, covered=covered, late=bucket.aggregates_beyond(pairs))
                after = self._next_look(bucket, command, learned)
                yield Move(words + "; is out of date" * (not covered), after, bucket, heads != true)

    def _may_know_older(self, bucket: Bucket, command: int, heads: tuple[tuple[int, int], ...]) -> bool:
        """Return whether an attempt may go by the definition without the constraint."""
        if self.defined or self.orders[command].items[0].kind is Kind.COVER:
            return False
        covered = any(bucket.event_at(aggregate, head).covered for aggregate, head in heads)
        return not covered or UniqueRule.DEFINITION in self.without

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
        holder = self._holder_by(bucket, value, entry)
        if holder == PENDING:
            if UniqueRule.HELP not in self.without:
                after = Attempt("put", target=entry)
                yield Move(f"sees {name}/{place} pending, helps C{entry.command}", after, bucket)
            return
        if holder == aggregate and value not in bucket.event_at(aggregate, dict(attempt.heads)[aggregate]).held:
            yield Move(f"sees that {AGGREGATES[aggregate]} holds {name} itself by now", Attempt(), bucket)
            return
        words = f"sees {name}/{place} over" if holder == OVER else f"sees that {AGGREGATES[holder]} holds {name}"
        late = attempt.late if holder == OVER else bucket.aggregates_beyond(attempt.heads)
        learned = attempt._replace(ends=(*attempt.ends, (value, place + 1, holder)), last=None, late=late)
        yield Move(words, self._next_look(bucket, command, learned), bucket)

    def _holder_by(self, bucket: Bucket, value: int, entry: Entry) -> int:
        """Judge an entry; without one of two rules of V2, wrongly."""
        holder = holder_by(bucket, value, entry, lost_is_over=UniqueRule.LOST not in self.without)
        return OVER if holder == PENDING and UniqueRule.PENDING in self.without else holder

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
        """Write the next record; the one that is there under its number binds, whichever attempt wrote it."""
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
        written = bucket._replace(records=_with(records, command, (*records[command], record)))
        words = f"writes record {number}: {'; '.join(map(str, record))}"
        yield Move(words, self._adopted(written, command, number), written)

    def _put(self, bucket: Bucket, command: int, attempt: Attempt) -> Iterator[Move]:
        """PUT one object of the target: its next entry or, once all are its own, its event."""
        target = attempt.target
        assert target is not None
        binding = bucket.binding_of(target)
        if binding is None:  # only without rule RECORD: the entry does not say what its command was
            return
        if UniqueRule.SLOT_BEFORE in self.without and attempt.number:
            record = bucket.records[command][attempt.number - 1]
            yield from self._early_entries(bucket, attempt, command, attempt.number, record)
        left = [place for place in range(len(binding.places)) if place not in attempt.written]
        for place in left if UniqueRule.ORDER in self.without else left[:1]:
            words, own, changed = self._entry_put(bucket, target, *binding.places[place])
            after = attempt._replace(written=tuple(sorted((*attempt.written, place))))
            yield Move(words, after if own else self._passed(changed, command, attempt, own=False), changed)
        if not left or self._slot_tells(bucket, target) or UniqueRule.ENTRIES_FIRST in self.without:
            words, own, changed = self._event_put(bucket, target, binding.covered)
            yield Move(words, self._passed(changed, command, attempt, own=own), changed)

    def _slot_tells(self, bucket: Bucket, target: Entry) -> bool:
        """Return whether the slot, looked at first, tells that the target is at its end."""
        event = bucket.event_at(target.aggregate, target.slot)
        own = (event.command, event.item) == (target.command, target.item)
        single = len(self.orders[target.command].items) == 1
        return event != NOTHING and (not own or single or UniqueRule.PLACES_AND_SLOT in self.without)

    def _passed(self, bucket: Bucket, command: int, attempt: Attempt, *, own: bool) -> Attempt:
        """Go on after the target has come to its end: with the record's next item, or again from the beginning."""
        assert attempt.target is not None
        if not attempt.number:  # it was another's
            return Attempt()
        displaced = attempt.open if own else (*attempt.open, attempt.target.item)
        return self._adopted(bucket, command, attempt.number, attempt.target.item, displaced)

    def _early_entries(
        self, bucket: Bucket, attempt: Attempt, command: int, number: int, record: Record
    ) -> Iterator[Move]:
        """Write entries before their time; only without rule RECORD or SLOT_BEFORE."""
        for binding in record:
            for value, place in binding.places:
                words, _, changed = self._entry_put(bucket, entry_of(command, number, binding), value, place)
                if changed != bucket:
                    yield Move(words, attempt, changed)

    def _entry_put(self, bucket: Bucket, target: Entry, value: int, place: int) -> tuple[str, bool, Bucket]:
        """The conditional PUT of one entry; whether the place is the target's own, and S3 afterwards."""
        chain = bucket.chains[value]
        if UniqueRule.NAMED in self.without:  # where the chain ends now, if its last entry is over
            over = not chain or self._holder_by(bucket, value, chain[-1]) == OVER
            place = chain.index(target) + 1 if target in chain else len(chain) + over
        words, existing = f"{VALUES[value]}/{place}", chain[place - 1 : place]
        if place > len(chain) + 1:
            raise Violation(f"{words} is written, and there is a gap before it")
        same_aggregate = existing != () and existing[0].aggregate == target.aggregate
        if existing == (target,) or (same_aggregate and UniqueRule.OWN in self.without):
            return f"finds {words} to be its own", True, bucket
        if existing and UniqueRule.CONDITIONAL not in self.without:
            return f"finds {words} taken", False, bucket
        chain = (*chain[: place - 1], target, *chain[place:])
        changed = bucket._replace(chains=_with(bucket.chains, value, chain))
        return f"{'overwrites' if existing else 'writes'} {words}", True, changed

    def _event_put(self, bucket: Bucket, target: Entry, covered: bool) -> tuple[str, bool, Bucket]:
        """The conditional PUT of the event; whether the slot is the target's own, and S3 afterwards."""
        log, words = bucket.logs[target.aggregate], f"{AGGREGATES[target.aggregate]}/{target.slot}"
        if target.slot > len(log) + 1:
            raise Violation(f"{words} is written, and there is a gap before it")
        if target.slot <= len(log):
            event = log[target.slot - 1]
            own = (event.command, event.item) == (target.command, target.item)
            return f"finds {words} {'to be its own' if own else 'taken'}", own, bucket
        item = self.orders[target.command].items[target.item]
        event = event_after(log[-1] if log else NOTHING, item, (target.command, target.item), covered=covered)
        return f"writes {words}", True, bucket._replace(logs=_with(bucket.logs, target.aggregate, (*log, event)))

    def _adopted(
        self, bucket: Bucket, command: int, number: int, item: int = -1, displaced: tuple[int, ...] = ()
    ) -> Attempt:
        """Go for the record's next item. An item after a displaced one of its aggregate is void and bound again."""
        items = self.orders[command].items
        for binding in bucket.records[command][number - 1]:
            if binding.item > item and binding.aggregate in {items[other].aggregate for other in displaced}:
                displaced = (*displaced, binding.item)
            elif binding.item > item and binding.slot != REJECTED:
                return Attempt("put", number, displaced, target=entry_of(command, number, binding))
        return Attempt("look", number, displaced) if displaced else DONE

    def _next_look(self, bucket: Bucket, command: int, attempt: Attempt) -> Attempt:
        """Go for the next thing that is not known yet, or for the record."""
        decision = self._decide(bucket, command, attempt)
        prove = decision.unproven and (not decision.wanted or UniqueRule.HOLDER_FIRST in self.without)
        return attempt._replace(at="prove" if prove else "value" if decision.wanted else "bind")

    def _decide(self, bucket: Bucket, command: int, attempt: Attempt) -> Decision:
        return decide(bucket, command, self.orders[command].items, attempt, self.without)


def _with(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])

"""Batches as an executable model: commands of many items beside single ones, on several aggregates, and the reconciler.

One record binds several items, several of them perhaps on one aggregate. Redis is left out here: an attempt
goes by a head that it read some time ago, which is the worst that Redis can make it do once rule R1 holds
(``protocol`` has Redis itself, and the turns). As there, every ``yield`` is one request, and so atomic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.model.batch_state import (
    CLOSED,
    REJECTED,
    Attempt,
    Entry,
    Look,
    Order,
    Progress,
    Record,
    Slot,
    State,
    check_answer,
    check_left,
    check_slots,
    ends_of,
    exists,
    items_of,
)
from tests.model.protocol import Kind
from tests.model.search import Violation


class BatchRule(StrEnum):
    """Rules that may be left out, to see what each is there for."""

    PLAN = "the command's record fixes where each chunk starts, for every attempt and release"
    VOID = "what follows a displaced item on its aggregate in one record is void: slots and rejections alike"
    ALL_ENDED_BEFORE_NEXT = "a further record only when every item of the one before has its definite end"
    OWN_BY_ITEM = "a slot is an item's own only if it holds the event of that item, not just of that command"
    PUT_IN_ORDER = "the slots of one aggregate are written one after the other"
    SEEN = "a rejection that rests on no earlier item of its record is recorded on what S3 showed to be the head"
    CLOSE_BY_RECORD = "a bulk is closed by a record in the place of the next chunk's first"
    METADATA = "an event carries the watermark that was known, not one that its batch will bring about"
    SWEEP = "what a terminated workflow left is looked for once more after its last attempt has died"


Step = Iterator[tuple[str, Attempt, State]]


@dataclass(frozen=True)
class Batches:
    """The bounds of a search.

    ``born``: per aggregate, slots taken and published before. ``streams``: whether publishing is part of it.
    ``ahead``: whether the next chunk may be looked at before this one is at its end, if they share no aggregate. The
    others bound how often an attempt uses a head that is out of date, Redis loses its watermarks, an attempt dies and
    starts again, and reconciliation begins beside attempts that are still alive.
    """

    orders: tuple[Order, ...]
    born: tuple[int, ...]
    streams: bool = False
    ahead: bool = False
    stale: int = 0
    losses: int = 0
    deaths: int = 0
    sweeps: int = 0
    without: frozenset[BatchRule] = frozenset()

    def start(self) -> State:
        chunks = (max(map(len, order.chunkings)) for order in self.orders)
        return State(
            slots=tuple(
                tuple(Slot(-1, aggregate * 10 + n, Kind.UPDATE if n else Kind.CREATE, n) for n in range(born))
                for aggregate, born in enumerate(self.born)
            ),
            stream=self.born,
            marks=tuple(born or None for born in self.born),
            plans=tuple(() if order.bulk else (1,) for order in self.orders),
            records=tuple(((),) * number for number in chunks),
            attempts=tuple((Attempt(),) * order.attempts for order in self.orders),
            answers=(None,) * len(self.orders),
            gone=(False,) * len(self.orders),
            swept=(False,) * len(self.orders),
            stale=self.stale,
            losses=self.losses,
            deaths=self.deaths,
            sweeps=self.sweeps,
        )

    def check(self, state: State) -> None:
        check_slots(state)

    def check_end(self, state: State) -> None:
        check_left(state, self.orders)
        if self.streams and [len(slots) for slots in state.slots] != list(state.stream):
            raise Violation("an event was never published")

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        for command, attempts in enumerate(state.attempts):
            for attempt in dict.fromkeys(attempts):
                who = f"{'sweep of' if attempt.sweep else self.orders[command].kind} {command}"
                if attempt.at == "done":
                    continue
                for words, after, changed in getattr(self, f"_{attempt.at}")(state, command, attempt):
                    yield f"{who} {words}", _replaced(changed, command, attempt, after)
                if state.gone[command] and not attempt.sweep:
                    yield f"{who} dies for good", _replaced(state, command, attempt, Attempt("done"))
                elif state.deaths and attempt.at != "plan":
                    fewer = state._replace(deaths=state.deaths - 1)
                    again = Attempt(sweep=attempt.sweep)
                    yield f"{who} dies and starts again", _replaced(fewer, command, attempt, again)
        yield from self._mishaps(state)

    def _mishaps(self, state: State) -> Iterator[tuple[str, State]]:
        for command, order in enumerate(self.orders):
            attempts = state.attempts[command]
            all_done = all(attempt.at == "done" for attempt in attempts)
            if not state.gone[command]:
                if order.terminated and not all_done:
                    yield f"workflow {command} is terminated", state._replace(gone=_with(state.gone, command, True))
                continue
            swept = _with(state.attempts, command, (*attempts, Attempt(sweep=True)))
            if state.sweeps:
                yield f"sweep of {command} begins", state._replace(attempts=swept, sweeps=state.sweeps - 1)
            if all_done and not state.swept[command] and BatchRule.SWEEP not in self.without:
                once = _with(state.swept, command, True)
                yield f"last sweep of {command} begins", state._replace(attempts=swept, swept=once)
        if self.streams and state.losses and any(mark is not None for mark in state.marks):
            lost = (None,) * len(state.marks)
            yield "Redis is emptied", state._replace(marks=lost, losses=state.losses - 1)

    def _plan(self, state: State, command: int, attempt: Attempt) -> Step:
        """Write the command's record, or read the one that stands; reconciliation begins nothing."""
        order, existing = self.orders[command], state.plans[command]
        if attempt.sweep and not (existing if order.bulk else state.records[command][0]):
            yield "finds nothing bound", Attempt("done", sweep=True), state
        elif existing and BatchRule.PLAN not in self.without:
            yield f"reads the plan {existing}", attempt._replace(at="begin", plan=existing), state
        else:
            for plan in order.chunkings:
                plans = state.plans if existing else _with(state.plans, command, plan)
                yield f"plans {plan}", attempt._replace(at="begin", plan=plan), state._replace(plans=plans)

    def _begin(self, state: State, command: int, attempt: Attempt) -> Step:
        """At a chunk's boundary: its first record binds if it stands; else close, or begin it."""
        order, existing = self.orders[command], state.records[command][attempt.chunk]
        if existing:
            yield f"finds record {attempt.chunk}/0", *self._adopted(state, command, attempt, existing[0])
            return
        if order.bulk and (attempt.sweep or order.cancelled):
            closed = state
            if BatchRule.CLOSE_BY_RECORD not in self.without:
                closed = _recorded(state, command, attempt, CLOSED)
            yield f"closes at chunk {attempt.chunk}", *self._ended(closed, command, attempt)
        if not attempt.sweep:
            items = tuple(items_of(attempt.plan, attempt.chunk))
            looked = {look.aggregate for look in attempt.ahead} >= {order.items[item] for item in items}
            begun = attempt._replace(at="bind" if looked else "look", looks=attempt.ahead, open=items, ahead=())
            yield f"begins chunk {attempt.chunk}", begun, state

    def _look(self, state: State, command: int, attempt: Attempt) -> Step:
        """Learn an aggregate's head: for a first record from whatever is at hand, for a further one from S3."""
        order = self.orders[command]
        wanted = {order.items[item] for item in attempt.open} - {look.aggregate for look in attempt.looks}
        aggregate = min(wanted)
        head, first = len(state.slots[aggregate]), attempt.number == 0
        mark = (state.marks[aggregate] or 0) if self.streams else 0

        def learned(head: int) -> Attempt:
            look = Look(aggregate, head, not first, min(mark, head))
            return attempt._replace(at="look" if len(wanted) > 1 else "bind", looks=(*attempt.looks, look))

        yield f"finds {aggregate} at {head}", learned(head), state
        if first and state.stale and head:
            older = 0 if order.kind is Kind.CREATE else head - 1
            fewer = state._replace(stale=state.stale - 1)
            yield f"believes {aggregate} to be at {older}", learned(older), fewer

    def _bind(self, state: State, command: int, attempt: Attempt) -> Step:
        """Decide in order of items, and write the record; the record then under its number binds."""
        record, doubtful = self._decided(state, command, attempt)
        if doubtful and BatchRule.SEEN not in self.without:
            look = doubtful[0]
            head = len(state.slots[look.aggregate])
            looks = tuple(look._replace(head=head, seen=True) if each == look else each for each in attempt.looks)
            yield f"sees {look.aggregate} at {head}", attempt._replace(looks=looks), state
            return
        existing = state.records[command][attempt.chunk]
        where = f"{attempt.chunk}/{attempt.number}"
        if attempt.number < len(existing):
            yield f"finds record {where}", *self._adopted(state, command, attempt, existing[attempt.number])
            return
        for look in doubtful:
            if look.head != len(state.slots[look.aggregate]):
                raise Violation(f"command {command} rejects an item on a state that never was the head")
        written = _recorded(state, command, attempt, record)
        yield f"writes record {where} {_said(record)}", *self._adopted(written, command, attempt, record)

    def _decided(self, state: State, command: int, attempt: Attempt) -> tuple[Record, list[Look]]:
        """The record, and what was looked at on which it rejects items without having seen it to be the head."""
        order = self.orders[command]
        record, doubtful = [], []
        for look in attempt.looks:
            head, there, own = look.head, exists(state.slots[look.aggregate], look.head), False
            for item in (item for item in attempt.open if order.items[item] == look.aggregate):
                if there == (order.kind is Kind.CREATE):
                    record.append(Entry(item, REJECTED))
                    if not own and not look.seen and look not in doubtful:
                        doubtful.append(look)
                else:
                    head, there, own = head + 1, order.kind is not Kind.DELETE, True
                    record.append(Entry(item, head))
        return tuple(sorted(record)), doubtful

    def _put(self, state: State, command: int, attempt: Attempt) -> Step:
        """Conditional PUTs, on different aggregates in any order, on one in that of the slots."""
        record = state.records[command][attempt.chunk][attempt.number]
        for progress in attempt.progress:
            bound = self._bound(record, command, progress.aggregate)
            if self._passed(progress, bound):
                continue
            position = len(bound) - 1 - progress.passed if BatchRule.PUT_IN_ORDER in self.without else progress.passed
            words, own, changed = self._written(state, command, attempt, bound[position], progress.aggregate)
            displaced = progress.displaced if own else (*progress.displaced, bound[position].item)
            further = progress._replace(passed=progress.passed + 1, displaced=displaced)
            others = tuple(further if each == progress else each for each in attempt.progress)
            yield words, *self._gone_on(changed, command, attempt._replace(progress=others))
        for look in self._looks_ahead(state, command, attempt):
            words = f"finds {look.aggregate} at {look.head} for the next chunk"
            yield words, attempt._replace(ahead=(*attempt.ahead, look)), state
        if BatchRule.ALL_ENDED_BEFORE_NEXT in self.without and any(each.displaced for each in attempt.progress):
            yield "goes on to the next record", self._further(state, command, attempt), state

    def _looks_ahead(self, state: State, command: int, attempt: Attempt) -> Iterator[Look]:
        """A decision ahead may rest on what S3 showed to be the head at the time: so it counts as seen."""
        items, following = self.orders[command].items, attempt.chunk + 1
        if not self.ahead or attempt.number or following == len(attempt.plan):
            return
        wanted = {items[item] for item in items_of(attempt.plan, following)}
        left = wanted - {look.aggregate for look in attempt.ahead}
        if left and not wanted & {items[item] for item in items_of(attempt.plan, attempt.chunk)}:
            yield Look(min(left), len(state.slots[min(left)]), seen=True)

    def _written(
        self, state: State, command: int, attempt: Attempt, entry: Entry, aggregate: int
    ) -> tuple[str, bool, State]:
        """The PUT of one item; whether the slot is its own, and what is there then."""
        slots, place = state.slots[aggregate], f"{aggregate}/{entry.end}"
        if entry.end > len(slots) + 1:
            raise Violation(f"slot {place} is written without a predecessor")
        if entry.end == len(slots) + 1:
            known = max((look.mark for look in attempt.looks if look.aggregate == aggregate), default=0)
            mark = entry.end - 1 if BatchRule.METADATA in self.without else min(known, entry.end - 1)
            event = Slot(command, entry.item, self.orders[command].kind, mark if self.streams else 0)
            written = state._replace(slots=_with(state.slots, aggregate, (*slots, event)))
            return f"writes item {entry.item} into {place}", True, written
        slot = slots[entry.end - 1]
        own = slot.command == command and (slot.item == entry.item or BatchRule.OWN_BY_ITEM in self.without)
        return f"finds {place} {'to be its own' if own else 'taken'}", own, state

    def _adopted(self, state: State, command: int, attempt: Attempt, record: Record) -> tuple[Attempt, State]:
        if record == CLOSED:
            return self._ended(state, command, attempt)
        order = self.orders[command]
        aggregates = sorted({order.items[entry.item] for entry in record if entry.end > REJECTED})
        progress = tuple(Progress(aggregate) for aggregate in aggregates)
        return self._gone_on(state, command, attempt._replace(at="put", progress=progress, open=()))

    def _gone_on(self, state: State, command: int, attempt: Attempt) -> tuple[Attempt, State]:
        """The steps after a PUT or a record: more PUTs, a further record, publishing, the next chunk or the end."""
        record = state.records[command][attempt.chunk][attempt.number]
        if not all(
            self._passed(progress, self._bound(record, command, progress.aggregate)) for progress in attempt.progress
        ):
            return attempt, state
        further = self._further(state, command, attempt)
        if further.open:
            return further, state
        if self.streams and self._unpublished(state, command, attempt):
            return attempt._replace(at="publish", looks=(), progress=(), sent=()), state
        return self._next_chunk(state, command, attempt)

    def _further(self, state: State, command: int, attempt: Attempt) -> Attempt:
        """Go for the next record, which binds exactly what is displaced or void in this one."""
        record = state.records[command][attempt.chunk][attempt.number]
        order, open_items = self.orders[command], set[int]()
        for progress in attempt.progress:
            if progress.displaced:
                open_items.update(progress.displaced)
                if BatchRule.VOID not in self.without:
                    later = (entry.item for entry in record if order.items[entry.item] == progress.aggregate)
                    open_items.update(item for item in later if item > progress.displaced[0])
        return attempt._replace(
            at="look", number=attempt.number + 1, looks=(), progress=(), open=tuple(sorted(open_items))
        )

    def _next_chunk(self, state: State, command: int, attempt: Attempt) -> tuple[Attempt, State]:
        following = Attempt("begin", attempt.sweep, attempt.plan, attempt.chunk + 1, ahead=attempt.ahead)
        if following.chunk == len(attempt.plan):
            return self._ended(state, command, following)
        return following, state

    def _publish(self, state: State, command: int, attempt: Attempt) -> Step:
        """Per aggregate, from the watermark on; one lost by Redis is taken from the head of the log."""
        for aggregate, through in self._unpublished(state, command, attempt):
            known = dict(attempt.sent)
            if aggregate not in known:
                mark = state.marks[aggregate]
                found = state.slots[aggregate][-1].published_through if mark is None else mark
                found = min(found, through)
                sent = attempt._replace(sent=tuple(sorted({**known, aggregate: found}.items())))
                yield f"finds {aggregate} published to {found}", *self._sent(state, command, sent)
                continue
            number = known[aggregate] + 1
            if number > state.stream[aggregate] + 1:
                raise Violation(f"first deliveries of {aggregate} are out of order")
            stream = _with(state.stream, aggregate, max(state.stream[aggregate], number))
            marks = _with(state.marks, aggregate, max(state.marks[aggregate] or 0, number))
            sent = attempt._replace(sent=tuple(sorted({**known, aggregate: number}.items())))
            published = state._replace(stream=stream)
            yield f"publishes {aggregate}/{number}", *self._sent(published._replace(marks=marks), command, sent)
            if state.stream != stream:
                yield (
                    f"publishes {aggregate}/{number}, which Redis does not learn",
                    *self._sent(published, command, sent),
                )

    def _sent(self, state: State, command: int, attempt: Attempt) -> tuple[Attempt, State]:
        return (
            (attempt, state)
            if self._unpublished(state, command, attempt)
            else self._next_chunk(state, command, attempt)
        )

    def _unpublished(self, state: State, command: int, attempt: Attempt) -> list[tuple[int, int]]:
        """The aggregates, and to where, that this attempt does not know to be published as far as its chunk went."""
        order, ends = self.orders[command], ends_of(state, command, self.orders[command])
        through: dict[int, int] = {}
        for item in items_of(attempt.plan, attempt.chunk):
            if ends[item] > REJECTED:
                through[order.items[item]] = max(through.get(order.items[item], 0), ends[item])
        known = dict(attempt.sent)
        return [(aggregate, end) for aggregate, end in sorted(through.items()) if known.get(aggregate, -1) < end]

    def _ended(self, state: State, command: int, attempt: Attempt) -> tuple[Attempt, State]:
        order = self.orders[command]
        ends = ends_of(state, command, order)
        check_answer(state, command, order, ends)
        done = Attempt("done", sweep=attempt.sweep)
        return done, state._replace(answers=_with(state.answers, command, ends))

    def _bound(self, record: Record, command: int, aggregate: int) -> list[Entry]:
        items = self.orders[command].items
        return [entry for entry in record if entry.end > REJECTED and items[entry.item] == aggregate]

    def _passed(self, progress: Progress, bound: list[Entry]) -> bool:
        stopped = bool(progress.displaced) and BatchRule.VOID not in self.without
        return stopped or progress.passed == len(bound)


def _with(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _recorded(state: State, command: int, attempt: Attempt, record: Record) -> State:
    chunks = state.records[command]
    chunks = _with(chunks, attempt.chunk, (*chunks[attempt.chunk], record))
    return state._replace(records=_with(state.records, command, chunks))


def _replaced(state: State, command: int, attempt: Attempt, after: Attempt) -> State:
    """Put an attempt in another's place; attempts at one command are alike, so their order tells nothing."""
    attempts = list(state.attempts[command])
    attempts[attempts.index(attempt)] = after
    return state._replace(attempts=_with(state.attempts, command, tuple(sorted(attempts))))


def _said(record: Record) -> str:
    return ", ".join(f"{entry.item}→{entry.end or 'rejected'}" for entry in record)

"""The slot protocol as an executable model, in step with ``oncelog.write``: every interleaving is tried.

One aggregate, some commands, and for each several attempts alive at once, as retries beside zombies are. Every
``yield`` of a step is one request to a server and so atomic; between any two of them anything else may happen: another
attempt's step, an attempt's death and new start, Redis emptied, rolled back or overstated, a lease that runs out, a
silent Kafka, a topic lost and made anew.

``Rule`` names what the protocol rests on. Without one of the rules of safety the search finds a violation, and
without a turn (``Rule.TURN``), which is for speed only, it finds none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tests.model.search import Violation


class Rule(StrEnum):
    """Rules that may be left out, to see what each is there for."""

    CONDITIONAL = "R1: an event is written only if its slot is free"
    PREDECESSOR = "R1: the predecessor is read before a slot is named; what Redis says does not count"
    INTENT = "R2: a record names the slot before the event is written, and the record that stands binds"
    FURTHER_RECORD = "R2: to another slot only after the named one was seen to hold another command's event"
    DECIDED = "R2: the record carries the event that was decided, where a release may decide otherwise"
    RANGE = "R3: what is not published yet before the own event is published first"
    ACKNOWLEDGED = "R3: the watermark is raised after the acknowledgement, never before"
    METADATA = "R3: a lost watermark is taken from the head of the log, and not guessed"
    GENERATION = "R3: a watermark counts only in the generation of the topic that it was raised in"
    SEEN = "a rejection is recorded only on a state that S3 itself showed to be the head"
    TURN = "R5: one holds the turn"


class Kind(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    PUT = "PUT"  # of one's own, which accepts it in every state


class Redis(NamedTuple):
    """The contents of Redis. ``head`` and ``published`` count slots, None where it knows nothing of the log.

    ``lost``: the watermark of the topic that was lost, where one was.
    """

    head: int | None = None
    published: int | None = None
    holder: int | None = None
    lost: int | None = None


class Slot(NamedTuple):
    """An event in S3: whose it is, of which kind, and the watermark that its metadata carries, of which topic.

    ``decided_by``: the release whose decision its bytes are.
    """

    command: int
    kind: Kind
    published_through: int
    topic: int = 1
    decided_by: int = 1


REJECTED = 0
"""A record's entry instead of a slot, and a rejected command's answer."""


class Attempt(NamedTuple):
    """One attempt at a command. ``at``: the next request it makes; the rest is what it knows."""

    at: str = "claim"
    head: int = 0  # of the state it decides on
    seen: bool = False  # whether S3 showed it to be the head
    published: int = 0
    topic: int = 1  # the generation that ``published`` is of: the newest that its process has noticed
    records: int = 0  # read or written so far
    slot: int | None = None  # named by its last record
    bound: bool = False  # whether that slot was not yet seen to hold another's event
    release: int = 1  # of its process, which decides by it
    decided_by: int = 1  # the release whose decision it writes


class State(NamedTuple):
    """Everything there is."""

    slots: tuple[Slot, ...]
    records: tuple[tuple[int, ...], ...]  # per command, in order: slots, or REJECTED
    decided_by: tuple[tuple[int, ...], ...]  # per command and record: the release whose decision it carries
    stream: tuple[int, ...]  # sequence numbers by first delivery, in the topic as it is
    topic: int  # its generation
    redis: Redis
    attempts: tuple[tuple[Attempt, ...], ...]
    answers: tuple[int | None, ...]  # per command: the answer of its first attempt to end
    losses: int
    deaths: int
    expiries: int
    overstatements: int
    silences: int
    remakes: int
    releases: int


_IN_TURN = frozenset({"read", "recover", "bind", "persist", "send", "settle"})


Step = Iterator[tuple[str, Attempt, State]]


@dataclass(frozen=True)
class Model:
    """The bounds of a search.

    ``born``: slots taken and published before. The others bound how often Redis loses what it knows, an attempt dies
    and starts again, a lease runs out under a living holder, Redis claims a head that S3 does not have, Kafka does not
    answer within a turn, the topic is lost and made anew (once at most), and an attempt runs in a newer release.
    ``own``: the commands are of one's own, so that each of them may be the first of the stream.
    """

    kinds: tuple[Kind, ...]
    attempts: tuple[int, ...]
    born: int = 0
    losses: int = 0
    deaths: int = 0
    expiries: int = 0
    overstatements: int = 0
    silences: int = 0
    remakes: int = 0
    releases: int = 0
    own: bool = False
    without: frozenset[Rule] = frozenset()

    def start(self) -> State:
        commands = len(self.kinds)
        return State(
            slots=tuple(
                Slot(-1 - number, Kind.UPDATE if number else Kind.CREATE, number) for number in range(self.born)
            ),
            records=((),) * commands,
            decided_by=((),) * commands,
            stream=tuple(range(1, self.born + 1)),
            topic=1,
            redis=Redis(self.born, self.born) if self.born else Redis(),
            attempts=tuple((Attempt(),) * number for number in self.attempts),
            answers=(None,) * commands,
            losses=self.losses,
            deaths=self.deaths,
            expiries=self.expiries,
            overstatements=self.overstatements,
            silences=self.silences,
            remakes=self.remakes,
            releases=self.releases,
        )

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        for command, attempts in enumerate(state.attempts):
            for attempt in dict.fromkeys(attempts):
                if attempt.at == "done":
                    continue
                for words, after, changed in getattr(self, f"_{attempt.at}")(state, command, attempt):
                    yield f"{self.kinds[command]} {command} {words}", _replaced(changed, command, attempt, after)
                if state.releases and attempt.at == "claim" and attempt.release == 1:
                    newer = _replaced(state, command, attempt, attempt._replace(release=2))
                    yield (
                        f"{self.kinds[command]} {command} starts in a newer release",
                        newer._replace(releases=state.releases - 1),
                    )
                if state.deaths and attempt.at != "claim":
                    fewer = state._replace(deaths=state.deaths - 1)
                    yield (
                        f"{self.kinds[command]} {command} dies and starts again",
                        _replaced(fewer, command, attempt, Attempt(release=attempt.release)),
                    )
        yield from self._mishaps(state)

    def check(self, state: State) -> None:
        _check(state)
        if Rule.GENERATION not in self.without:
            _check_watermarks(state)

    def check_end(self, state: State) -> None:
        _check_end(state)

    def _mishaps(self, state: State) -> Iterator[tuple[str, State]]:
        redis = state.redis
        if state.losses and redis != Redis():
            fewer = state._replace(losses=state.losses - 1)
            yield "Redis is emptied", fewer._replace(redis=Redis())
            if redis.head is not None and redis.published is not None and redis.head > 1:
                older = Redis(redis.head - 1, min(redis.published, redis.head - 1))
                yield "Redis is rolled back", fewer._replace(redis=older)
        if state.remakes and Rule.GENERATION in self.without:
            yield "the topic is made anew", _made_anew(state)
        elif state.remakes:
            yield "the topic is made anew", _made_anew(state._replace(redis=_lost(redis)))
        if state.overstatements and redis.head is not None:
            fewer = state._replace(overstatements=state.overstatements - 1)
            yield "Redis overstates the head", fewer._replace(redis=redis._replace(head=len(state.slots) + 1))
        if redis.holder is not None:
            free = state._replace(redis=redis._replace(holder=None))
            if not any(attempt.at in _IN_TURN for attempt in state.attempts[redis.holder]):
                yield "the lease of a dead holder runs out", free
            elif state.expiries:
                yield "the lease runs out", free._replace(expiries=state.expiries - 1)
        if all(attempt.at == "done" for attempts in state.attempts for attempt in attempts):
            yield from self._checked(state)

    def _checked(self, state: State) -> Iterator[tuple[str, State]]:
        """The consistency check: events of a lost topic go out once more, unless a command is at work on them."""
        published = self._watermark(state, state.topic) if state.redis.published is None else state.redis.published
        if state.topic > 1 and published < len(state.slots):
            sent = _published(state, published + 1, state.topic)
            raised = sent.redis._replace(published=published + 1)
            yield f"the check publishes {published + 1}", sent._replace(redis=raised)

    def _claim(self, state: State, command: int, attempt: Attempt) -> Step:
        """``Committer.commit``: if the ID is claimed, read its last record; Redis may have forgotten the claim."""
        yield "is first, as far as Redis knows", attempt._replace(at="allocate"), state
        records = state.records[command]
        if not records:
            return
        known = attempt._replace(records=len(records), slot=records[-1], bound=True)
        known = known._replace(decided_by=self._decided_by(state, command, attempt, len(records)))
        if records[-1] == REJECTED:
            yield "finds its rejection", *_ended(state, command, REJECTED)
        elif records[-1] <= len(state.slots) and state.slots[records[-1] - 1].command == command:
            after = known._replace(at="ensure")
            yield f"finds its event in slot {records[-1]}", after, _answered(state, command, records[-1])
        else:
            yield f"finds its record for slot {records[-1]}", known._replace(at="allocate"), state

    def _allocate(self, state: State, command: int, attempt: Attempt) -> Step:
        """``LeaseQueue`` and ``Committer._position``: take the turn, with what Redis knows."""
        redis = state.redis
        if redis.holder not in (None, command) and Rule.TURN not in self.without:
            return
        held = state._replace(redis=redis._replace(holder=command))
        for topic in self._noticed(state, attempt):
            attempt = attempt._replace(topic=topic)
            published = self._known_watermark(state, topic)
            if redis.head is not None and published is not None:
                known = attempt._replace(head=redis.head, published=min(published, redis.head))
                following = "bind" if Rule.PREDECESSOR in self.without else "read"
                yield f"takes the turn at {redis.head}{_of(topic)}", known._replace(at=following), held
            elif redis.head is None and (self.own or self.kinds[command] is Kind.CREATE):
                yield f"takes the turn and hopes to be new{_of(topic)}", attempt._replace(at="bind"), held
            else:
                yield f"takes the turn, nothing is known{_of(topic)}", attempt._replace(at="recover"), held

    def _read(self, state: State, _command: int, attempt: Attempt) -> Step:
        """Read the predecessor that Redis named; slots never change, so once is enough."""
        if attempt.head <= len(state.slots):
            yield f"reads slot {attempt.head}", attempt._replace(at="bind"), state
        else:
            yield f"misses slot {attempt.head}", attempt._replace(at="recover"), state

    def _recover(self, state: State, _command: int, attempt: Attempt) -> Step:
        """``Committer._recovered``: head and watermark as S3 has them, whatever Redis said."""
        for topic in self._noticed(state, attempt):
            head, published = len(state.slots), self._watermark(state, topic)
            found = attempt._replace(at="bind", head=head, published=published, topic=topic, seen=True)
            known = Redis(holder=state.redis.holder)
            if head:
                known = self._raised(known._replace(head=head), state.topic, topic, published)
            words = f"recovers head {head}, published {published}{_of(topic)} from S3"
            yield words, found, state._replace(redis=known)

    def _bind(self, state: State, command: int, attempt: Attempt) -> Step:
        """``Committer._bind``: decide, and write the next record; the record then there binds."""
        if attempt.bound:
            yield "goes on with its record", attempt._replace(at="persist"), state
            return
        exists = 0 < attempt.head <= len(state.slots) and state.slots[attempt.head - 1].kind is not Kind.DELETE
        exists = exists or attempt.head > len(state.slots)  # only without rule R1: Redis made it up
        accepted = self.kinds[command] is Kind.PUT or exists != (self.kinds[command] is Kind.CREATE)
        if not accepted and not attempt.seen and Rule.SEEN not in self.without:
            if attempt.head < len(state.slots):
                yield f"sees slot {attempt.head + 1} taken", attempt._replace(at="recover"), state
            else:
                yield f"sees slot {attempt.head + 1} free", attempt._replace(seen=True), state
            return
        end = attempt.head + 1 if accepted else REJECTED
        if Rule.INTENT in self.without and accepted:
            bound = attempt._replace(at="persist", slot=end, decided_by=attempt.release)
            yield f"goes for slot {end}", bound, state
            return
        existing = state.records[command]
        if attempt.records < len(existing):
            end, words = existing[attempt.records], "finds its record"
        else:
            if end == REJECTED and not attempt.seen and attempt.head != len(state.slots):
                raise Violation(f"{self.kinds[command]} {command} is rejected on a state that never was the head")
            words = "writes its record"
            state = _recorded(state, command, end, attempt.release)
        bound = attempt._replace(records=attempt.records + 1, slot=end, bound=True)
        bound = bound._replace(decided_by=self._decided_by(state, command, attempt, bound.records))
        if end == REJECTED:
            yield f"{words}: rejected", *_ended(_released(state, command), command, REJECTED)
        else:
            yield f"{words} for slot {end}", bound._replace(at="persist"), state

    def _decided_by(self, state: State, command: int, attempt: Attempt, records: int) -> int:
        """The release whose decision an attempt writes that is bound by its last record."""
        return attempt.release if Rule.DECIDED in self.without else state.decided_by[command][records - 1]

    def _persist(self, state: State, command: int, attempt: Attempt) -> Step:
        """The conditional PUT, and what is read back where the slot is taken."""
        slots, slot = state.slots, attempt.slot
        assert slot is not None
        published = min(attempt.published, slot - 1)
        event = Slot(command, self.kinds[command], published, attempt.topic, attempt.decided_by)
        if slot == len(slots) + 1:
            yield f"writes slot {slot}", attempt._replace(at="send"), state._replace(slots=(*slots, event))
        elif slot > len(slots) + 1:
            raise Violation(f"slot {slot} is written without a predecessor")
        elif slots[slot - 1].command == command:
            if slots[slot - 1].decided_by != attempt.decided_by:
                raise Violation(f"the event in slot {slot} has other bytes than another attempt decided")
            yield f"finds its own event in slot {slot}", attempt._replace(at="send"), state
        elif Rule.CONDITIONAL in self.without:
            raise Violation(f"the event in slot {slot} is overwritten")
        elif Rule.FURTHER_RECORD in self.without:
            moved = attempt._replace(at="send", slot=len(slots) + 1)
            yield f"writes slot {len(slots) + 1} instead", moved, state._replace(slots=(*slots, event))
        else:
            yield f"finds slot {slot} taken", attempt._replace(at="recover", bound=False), state

    def _send(self, state: State, _command: int, attempt: Attempt) -> Step:
        """``Committer._finish``: publish within the turn, from the watermark on, each acknowledged before the next."""
        assert attempt.slot is not None
        if state.silences:
            yield (
                "gets no answer from Kafka",
                attempt._replace(at="settle"),
                state._replace(silences=state.silences - 1),
            )
        if attempt.published >= attempt.slot:
            yield "has nothing to publish", attempt._replace(at="settle"), state
        elif self._raises_early(state, attempt):
            early = state.redis._replace(published=attempt.slot)
            yield f"raises the watermark to {attempt.slot} first", attempt, state._replace(redis=early)
        else:
            number = self._next(attempt)
            sent = _published(state, number, attempt.topic)
            yield f"publishes {number}{_of(attempt.topic)}", attempt._replace(published=number), sent

    def _settle(self, state: State, command: int, attempt: Attempt) -> Step:
        """Raise what Redis knows, never lower it, and give up the turn."""
        assert attempt.slot is not None
        head = max(state.redis.head or 0, attempt.slot)
        published = min(attempt.published, attempt.slot)
        known = self._raised(state.redis._replace(head=head), state.topic, attempt.topic, published)
        settled = _released(state._replace(redis=known), command)
        all_done = attempt.published >= attempt.slot
        following = attempt._replace(at="ensure")
        answered = _answered(settled, command, attempt.slot)
        yield "gives up the turn", Attempt(at="done") if all_done else following, answered

    def _ensure(self, state: State, _command: int, attempt: Attempt) -> Step:
        """``Publication.ensure``: publish up to the own slot whatever is not published yet, without any turn."""
        for topic in self._noticed(state, attempt):
            known = self._known_watermark(state, topic)
            published = self._watermark(state, topic) if known is None else known
            found = attempt._replace(at="resend", published=published, topic=topic)
            yield f"finds {published} published{_of(topic)}", found, state

    def _resend(self, state: State, _command: int, attempt: Attempt) -> Step:
        assert attempt.slot is not None
        if attempt.published >= attempt.slot:
            yield "is done", Attempt(at="done"), state
        elif self._raises_early(state, attempt):
            early = state.redis._replace(published=attempt.slot)
            yield f"raises the watermark to {attempt.slot} first", attempt, state._replace(redis=early)
        else:
            number = self._next(attempt)
            sent = _published(state, number, attempt.topic)
            yield f"publishes {number}{_of(attempt.topic)}", attempt._replace(at="raise", published=number), sent

    def _raise(self, state: State, _command: int, attempt: Attempt) -> Step:
        """Raise the watermark of the topic that it was sent to, as far as its process knows; or notice another one."""
        known = self._raised(state.redis, state.topic, attempt.topic, attempt.published)
        raised = state._replace(redis=known)
        yield f"raises the watermark to {attempt.published}", attempt._replace(at="resend"), raised
        if attempt.topic < state.topic:
            yield "notices that the topic was made anew", attempt._replace(at="ensure"), state

    def _noticed(self, state: State, attempt: Attempt) -> list[int]:
        """The generations that its process may take the topic for now: it looks at it now and then only."""
        return sorted({attempt.topic, state.topic})

    def _known_watermark(self, state: State, topic: int) -> int | None:
        """The watermark of a generation in Redis."""
        same = topic == state.topic or Rule.GENERATION in self.without
        return state.redis.published if same else state.redis.lost

    def _raised(self, redis: Redis, current: int, topic: int, published: int) -> Redis:
        """Raise the watermark of a generation in Redis, never lower it."""
        if topic == current or Rule.GENERATION in self.without:
            return redis._replace(published=max(redis.published or 0, published))
        return redis._replace(lost=max(redis.lost or 0, published))

    def _raises_early(self, state: State, attempt: Attempt) -> bool:
        known = state.redis.published
        return Rule.ACKNOWLEDGED in self.without and known is not None and known < (attempt.slot or 0)

    def _next(self, attempt: Attempt) -> int:
        assert attempt.slot is not None
        return attempt.slot if Rule.RANGE in self.without else attempt.published + 1

    def _watermark(self, state: State, topic: int) -> int:
        """The watermark of a generation at the head of the log."""
        if not state.slots:
            return 0
        if Rule.METADATA in self.without:
            return len(state.slots)
        head = state.slots[-1]
        return head.published_through if head.topic == topic or Rule.GENERATION in self.without else 0


def _replaced(state: State, command: int, attempt: Attempt, after: Attempt) -> State:
    """Put an attempt in another's place; attempts at one command are alike, so their order tells nothing."""
    attempts = list(state.attempts[command])
    attempts[attempts.index(attempt)] = after
    ordered = tuple(sorted(attempts, key=lambda each: (each.at, *map(str, each))))
    return state._replace(attempts=(*state.attempts[:command], ordered, *state.attempts[command + 1 :]))


def _recorded(state: State, command: int, end: int, release: int) -> State:
    """Add a record, and the release that decided what it carries."""
    records, decided_by = state.records[command], state.decided_by[command]
    return state._replace(
        records=(*state.records[:command], (*records, end), *state.records[command + 1 :]),
        decided_by=(*state.decided_by[:command], (*decided_by, release), *state.decided_by[command + 1 :]),
    )


def _released(state: State, command: int) -> State:
    return state._replace(redis=state.redis._replace(holder=None)) if state.redis.holder == command else state


def _published(state: State, number: int, topic: int) -> State:
    """Deliver it. Consumers drop what they have had, and what is ahead: it was meant for a topic that is lost."""
    ahead = topic < state.topic and number > len(state.stream) + 1
    return state if ahead or number in state.stream else state._replace(stream=(*state.stream, number))


def _made_anew(state: State) -> State:
    return state._replace(remakes=state.remakes - 1, topic=state.topic + 1, stream=())


def _lost(redis: Redis) -> Redis:
    return redis._replace(published=None, lost=redis.published)


def _of(topic: int) -> str:
    return "" if topic == 1 else f" of topic {topic}"


def _answered(state: State, command: int, answer: int) -> State:
    first = state.answers[command]
    if first is not None and first != answer:
        raise Violation(f"command {command} answered {first} first, and then {answer}")
    return state._replace(answers=(*state.answers[:command], answer, *state.answers[command + 1 :]))


def _ended(state: State, command: int, answer: int) -> tuple[Attempt, State]:
    return Attempt(at="done"), _answered(state, command, answer)


def _check(state: State) -> None:
    commands = [slot.command for slot in state.slots]
    if len(commands) != len(set(commands)):
        raise Violation("one command has two events")
    if list(state.stream) != sorted(state.stream) or (state.stream and state.stream[-1] != len(state.stream)):
        raise Violation(f"first deliveries are out of order: {state.stream}")
    for command, records in enumerate(state.records):
        if REJECTED in records and command in commands:
            raise Violation(f"command {command} is rejected and has an event")


def _check_watermarks(state: State) -> None:
    marks = [slot.published_through for slot in state.slots if slot.topic == state.topic]
    if max((state.redis.published or 0, *marks)) > len(state.stream):
        raise Violation("the watermark overstates what is published")


def _check_end(state: State) -> None:
    if any(attempt.at != "done" for attempts in state.attempts for attempt in attempts):
        raise Violation("an attempt is stuck")
    if len(state.stream) != len(state.slots):
        raise Violation("an event was never published")

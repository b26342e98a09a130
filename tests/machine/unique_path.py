"""The machine with unique values: three instances of a class with two constraints, and two values for each."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.domain.unique.constraint import ValueKey
from oncelog.domain.unique.entry import ValueChain
from tests.classes import TEXT, define
from tests.machine.command_path import (
    SERVERS,
    WORKS_MAX,
    CommandPath,
    Then,
    Work,
    _then,
    _which,
    _wrongs,
)
from tests.machine.unique_observer import MEMBERS, Head, UniqueObserver, check_holders, heads_of
from tests.write.bulks import run_bulk
from tests.write.world import Process, World

#: More steps than any attempt needs.
STEPS_MAX = 200
#: Rounds in which every attempt makes a request: more than any needs to its end where nothing is in its way.
ROUNDS_MAX = 300

Content = Mapping[str, str | None]
Item = tuple[str, Content]

Until = str
"""The prefix of an object that an attempt writes before it is held up; empty where it goes on to its end."""

_places = st.sampled_from(("p1", "p2", "p3"))
_contents = st.sampled_from(
    (
        {"mail": "v"},
        {"mail": "v"},
        {"mail": "w"},
        {"mail": "v", "plate": "v"},
        {"mail": None, "plate": "v"},
        {},
    )
)
_untils = st.lists(st.sampled_from(("unique/", "commands/", "events/", "")), min_size=1, max_size=2)
_kinds = st.sampled_from([CommandType.CREATE_INSTANCE, CommandType.UPDATE_INSTANCE, CommandType.DELETE_INSTANCE])
_bulk_kinds = st.sampled_from([BulkType.BULK_UPDATE_INSTANCES, *BulkType])
_versions = st.sampled_from([None, None, None, None, 1, 2])
_items = st.lists(st.tuples(_places, _contents), min_size=1, max_size=4)

_VALUES = {sha256(f'"{value}"'.encode()).hexdigest(): value for value in "vw"}

_SCHEMA = {"type": "object", "properties": dict.fromkeys(MEMBERS, TEXT)}
PLAIN: dict[str, Any] = {"version": "1.0.0", "schema": _SCHEMA}
CONSTRAINED: dict[str, Any] = {**PLAIN, "version": "1.1.0", "unique": {member: [f"/{member}"] for member in MEMBERS}}


class UniquePath(CommandPath):
    """Commands and bulk commands that want a few values, on servers and in processes as before."""

    observer: UniqueObserver
    observed_by = UniqueObserver
    chunk_items_max = 3
    silence_or_heal_kafka = None  # type: ignore[assignment]
    make_the_topic_anew = None  # type: ignore[assignment]
    give_other_content = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.world.bucket.after = self._after
        self.entries: set[str] = set()
        self.redis_kept: list[dict[str, Any]] | None = None

    @initialize(
        born=_contents,
        second=st.sampled_from([None, {}, {"mail": "w"}]),
        first=st.lists(st.tuples(_kinds, _places, _contents, _untils), min_size=2, max_size=4),
    )
    def begin(self, born: Content, second: Content | None, first: list[Any]) -> None:
        """The class is defined, an instance or two are there, and some commands are given at once."""
        self._define()
        self._done(CommandType.CREATE_INSTANCE, "p1", born)
        if second is not None:
            self._done(CommandType.CREATE_INSTANCE, "p2", second)
        for kind, place, content, untils in first:
            self.give(kind, place, content, None, None, untils)

    def _define(self) -> None:
        self._run_alone(define(CONSTRAINED))

    def _done(self, kind: CommandType, place: str, content: Content) -> None:
        """A command that came to its end before the story begins."""
        work = self._given(self._unique(kind, place, content))
        self.loop.finish(self.stories.of(self.hosts[0].process, work.command))

    def _run_alone(self, command: Command, process: Process | None = None) -> None:
        self.observer.begins(command)
        self.loop.finish(self.stories.of(process or self._host().process, command))

    @precondition(lambda self: len(self.works) < WORKS_MAX)
    @rule(kind=_kinds, place=_places, content=_contents, version=_versions, redis=_wrongs, untils=_untils)
    def give(
        self,
        kind: CommandType,
        place: str,
        content: Content,
        version: int | None,
        redis: str | None,
        untils: list[Until],
    ) -> None:
        """A new command, with an attempt or two at once, each of which comes so far; Redis is wrong perhaps."""
        self._mistake(place, redis)
        self._attempts(self._given(self._unique(kind, place, content, version)), untils)

    @precondition(lambda self: len(self.works) < WORKS_MAX)
    @rule(kind=_bulk_kinds, items=_items, untils=_untils)
    def give_bulk(self, kind: BulkType, items: list[Item], untils: list[Until]) -> None:
        """A new bulk command, with an attempt or two at once, each of which comes so far."""
        self._attempts(self._given(self._unique_bulk(kind, items)), untils)

    def _attempts(self, work: Work, untils: list[Until]) -> None:
        for number, until in enumerate(untils):
            self._begin(work, number, number == 0)
            self._go_until(-1, until)

    @precondition(lambda self: self.crew.waiting())
    @rule(who=_which, until=st.sampled_from(("unique/", "events/", "commands/")))
    def step_until(self, who: int, until: Until) -> None:
        """Let an attempt go on until it has written something more, if it comes so far."""
        self._go_until(who, until)

    def _go_until(self, who: int, until: Until) -> None:
        waiting = self.crew.waiting()
        attempt = waiting[who % len(waiting)] if waiting else None
        before = self._count(until)
        for _ in range(STEPS_MAX):
            if attempt not in self.crew.waiting() or self._count(until) > before:
                return
            self.crew.step(attempt, 0)
            self._look()

    def _count(self, until: Until) -> int:
        return sum(bool(until) and key.startswith(until) for key in self.world.bucket.objects)

    @precondition(lambda self: len(self.crew.waiting()) > 1)
    @rule()
    def go_on_in_turn(self) -> None:
        """Every attempt makes one request after the other, all in turn: some must come to their end by that (V3)."""
        before = list(self.crew.attempts)
        written = len(self._ends())
        for _ in range(ROUNDS_MAX):
            waiting = self.crew.waiting()
            for attempt in waiting:
                if attempt in self.crew.waiting():
                    self.crew.step(attempt, 0)
            self._look()
            if not waiting or before != self.crew.attempts or len(self._ends()) > written:
                return
        raise AssertionError("attempts push each other aside, again and again")

    @rule(place=st.sampled_from(("p1", "p2", "p3", "the class")), wrong=_wrongs, then=_then)
    def mistake_an_instance(self, place: str, wrong: str | None, then: Then) -> None:
        """Redis is restored from an older copy, or claims what S3 does not have."""
        if place == "the class":
            self.world.redis.known.drop("shop/_class/Product")
        else:
            self._mistake(place, wrong)
        self._go_on(then)

    @rule(member=st.sampled_from(MEMBERS), value=st.sampled_from("vw"), wrong=_wrongs, then=_then)
    def mistake_a_chain(self, member: str, value: str, wrong: str | None, then: Then) -> None:
        """Redis takes the chain of a value to end before or after where it does, or has forgotten it."""
        key, redis = str(_chain(member, value)), self.world.redis
        last = redis.last_places.get(key)
        if wrong == "emptied":
            redis.last_places.drop(key)
        elif wrong and last is not None:
            redis.last_places.put(key, max(1, last + (1 if wrong == "ahead" else -1)), ttl_s=redis.memory_s)
        self._go_on(then)

    @rule(then=_then)
    def keep_a_copy_of_redis_or_restore_it(self, then: Then) -> None:
        """Redis goes back to where it was when it was copied, in all that it knows."""
        redis = self.world.redis
        kept: tuple[Any, ...] = (redis.known, redis.last_places, redis.statuses)
        if self.redis_kept is None:
            self.redis_kept = [dict(each.entries) for each in kept]
        else:
            for each, entries in zip(kept, self.redis_kept, strict=True):
                each.entries = entries
            self.redis_kept = None
        self._go_on(then)

    def _end(self) -> None:
        """From wherever the story ended each command comes to its end alone; and then all of them do."""
        for name in SERVERS:
            getattr(self.world, name).available = True
        for work in self.works:
            self._end_alone(self._copy(), work)
        super()._end()

    def _look(self) -> None:
        super()._look()
        entries = {key for key in self.world.bucket.objects if key.startswith("unique/")}
        try:
            self._probe(sorted(entries - self.entries))
        except BaseException:
            self.failed = True
            raise
        self.entries = entries

    def _probe(self, new: list[str]) -> None:
        """Whenever an entry was written, a newcomer that wants its value comes to its end alone (V4)."""
        for key in new:
            value = json.loads(self.world.bucket.objects[key].body)
            world = self._copy()
            content = {value["constraint"]: _VALUES[value["sha256"]]}
            newcomer = Work(self._unique(CommandType.CREATE_INSTANCE, "newcomer", content))
            result = self._end_alone(world, newcomer)
            heads = self._heads(world)
            holds = [head for head in heads.values() if (value["constraint"], value["sha256"]) in head.holds]
            assert len(holds) == 1, f"a newcomer came to {result.outcome}, and {len(holds)} hold the value"
            if result.outcome is Outcome.APPLIED:
                for work in self.works:
                    self._end_alone(world, work)

    def _copy(self) -> World:
        """Return what is in S3, beside servers that know nothing."""
        world = World(settings=self.world.settings)
        world.bucket.objects = dict(self.world.bucket.objects)
        world.redis.clock = self.loop.time
        return world

    def _heads(self, world: World) -> dict[str, Head]:
        return heads_of(world.bucket.objects, constrained_since=self.observer.constrained_since)

    def _end_alone(self, world: World, work: Work) -> Any:
        """Return the end of a command while all others stand still, be they gone for good."""
        command = work.command
        doing: Any = run_bulk(world, command) if isinstance(command, Bulk) else world.process().commit(command)
        result = self.loop.finish(doing)
        given = self.observer.given.get((work.command.command_id, work.command.hash))
        assert given is None or given.result in (None, result), f"{work.command.command_id} would come to another end"
        check_holders(self._heads(world))
        return result

    def _ends(self) -> list[str]:
        """The objects by which commands come to their ends, or get further towards it."""
        objects = self.world.bucket.objects
        return [key for key in objects if key.startswith("events/") or (b'"rejection"' in objects[key].body)]

    def _unique(self, kind: CommandType, place: str, content: Content, version: int | None = None) -> Command:
        command = self._command(kind, place, version)
        payload = {} if kind is CommandType.DELETE_INSTANCE else {**command.payload, **_fitting(content, kind.value)}
        return Command.model_validate({**command.model_dump(), "payload": payload})

    def _unique_bulk(self, kind: BulkType, items: list[Item]) -> Bulk:
        bulk = self._bulk(kind, [(place, None) for place, _ in items])
        if kind is BulkType.BULK_DELETE_INSTANCES:
            return bulk
        found = [
            item | {"payload": {**item["payload"], **_fitting(content, kind.value)}}
            for item, (_, content) in zip(bulk.payload.items or [], items, strict=True)
        ]
        return Bulk.model_validate(bulk.as_json | {"payload": {"items": found}})

    def _after(self, operation: str, key: str) -> None:
        self.observer.written(operation, key)
        self._lose_answer()


class CoveredLaterPath(UniquePath):
    """The class is given its constraints while it has instances, and some processes know the definition before."""

    def _define(self) -> None:
        self._run_alone(define(PLAIN))
        self.observer.constrained_since = 2
        for number, host in enumerate(self.hosts):
            create = self._unique(CommandType.CREATE_INSTANCE, f"p{number + 4}", {})
            self._run_alone(create.model_copy(update={"command_id": f"known{number}"}), host.process)
        self._run_alone(define(CONSTRAINED))


def _chain(member: str, value: str) -> ValueChain:
    sha = next(sha for sha, name in _VALUES.items() if name == value)
    return ValueChain.of(AggregateId.parse("shop/Product/p1"), ValueKey(member, sha))


def _fitting(content: Content, kind: str) -> dict[str, str | None]:
    """A merge patch may take a member away; an instance that is created has no nulls."""
    return {name: value for name, value in content.items() if value is not None or "UPDATE" in kind}

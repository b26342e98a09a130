"""The real activities on servers in memory as a state machine: Hypothesis decides whose step is next, and what breaks.

The part of ``tests/model``'s search that is tried here on the code itself, so that the two stay in step.
A crash before and after every request is a crash between any two steps, since nothing else of an attempt can be seen
from outside.
"""

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oncelog.activities import bulk as bulk_activities
from oncelog.bulk import delivery
from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.events import read_event
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.settings import Settings
from tests.machine.observer import Observer
from tests.machine.stepping import Crew, Host, StepLoop
from tests.machine.stories import Stories
from tests.write.sweeper import LOOK_ONLY, sweep
from tests.write.world import Process, World

T = TypeVar("T")

HOSTS = 3
WORKS_MAX = 8
PLACES = ("p1", "p2")
SERVERS = ("bucket", "redis", "publisher", "documents")

_MEMORIES = ("leases", "known", "statuses")

Item = tuple[str, int | None]
"""An instance and the version it is expected to have."""

Then = tuple[int, int]
"""The next to proceed, and for how many requests."""

_which = st.integers(0, 5)
_then = st.tuples(_which, st.integers(0, 15))
_places = st.sampled_from((PLACES[0], *PLACES))
_versions = st.sampled_from([None, None, None, 1, 2, 3])
_items = st.lists(st.tuples(_places, _versions), min_size=1, max_size=5)
_hosts = st.integers(0, HOSTS - 1)
_some_hosts = st.lists(_hosts, min_size=1, max_size=2)
_wrongs = st.sampled_from([None, "behind", "emptied", "ahead"])
_kinds = st.sampled_from([CommandType.UPDATE_INSTANCE, CommandType.CREATE_INSTANCE, CommandType.DELETE_INSTANCE])


@dataclass
class Work:
    """A command that was given, and whether its workflow still sees to it."""

    command: Command | Bulk
    attempts: int = 0
    terminated: bool = False


class CommandPath(RuleBasedStateMachine):
    """Commands on two instances, and bulk commands in chunks of two items, in three processes."""

    class_id = "Product"
    observed_by: type[Observer] = Observer
    chunk_items_max = 2

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(delivery, "SILENCE_S", 0)  # of the real clock, as is the next one
        self.patch.setattr(bulk_activities, "SEGMENT_S", 1e9)
        self.patch.setattr(bulk_activities, "SEGMENT_CHUNKS_MAX", 2)
        self.loop = StepLoop()
        self.crew = Crew(self.loop)
        self.world = World(settings=Settings(snapshot_interval_events=3, bulk_chunk_items_max=self.chunk_items_max))
        self.world.redis.clock = self.loop.time
        for name in _MEMORIES:
            getattr(self.world.redis, name).clock = self.loop.time
        for server in (*(getattr(self.world, name) for name in SERVERS), self.world.workflows):
            server.pause = self.crew.pause
        self.world.bucket.after = lambda _operation, _key: self._lose_answer()
        self.world.redis.after = lambda _step: self._lose_answer()
        self.hosts_started = 0
        self.hosts = [self._host() for _ in range(HOSTS)]
        self.observer = self.observed_by(self.world)
        self.stories = Stories(self.observer)
        self.works: list[Work] = []
        self.answer_is_lost = False
        self.abandoned: set[str] = set()
        self.failed = False

    @initialize(
        born=st.booleans(), first=st.lists(st.tuples(_kinds, _places, _some_hosts, _then), min_size=2, max_size=4)
    )
    def begin(self, born: bool, first: list[tuple[CommandType, str, list[int], Then]]) -> None:
        """Perhaps the first instance is there already; and some commands are given at once."""
        if born:
            work = self._given(self._command(CommandType.CREATE_INSTANCE, PLACES[0]))
            self.loop.finish(self.stories.of(self.hosts[0].process, work.command))
        for kind, place, hosts, then in first:
            self.give(kind, (place, None), None, hosts, then)

    # Actions of users

    @precondition(lambda self: len(self.works) < WORKS_MAX)
    @rule(kind=_kinds, item=st.tuples(_places, _versions), redis=_wrongs, hosts=_some_hosts, then=_then)
    def give(self, kind: CommandType, item: Item, redis: str | None, hosts: list[int], then: Then) -> None:
        """A new command, with an attempt or two at once, and Redis perhaps wrong about its instance."""
        self._mistake(item[0], redis)
        work = self._given(self._command(kind, *item))
        for number, host in enumerate(hosts):
            self._begin(work, host, number == 0)
        self._go_on(then)

    @precondition(lambda self: self._living() and len(self.works) < WORKS_MAX)
    @rule(which=_which, host=_hosts, place=st.sampled_from([None, *PLACES]), then=_then)
    def give_other_content(self, which: int, host: int, place: str | None, then: Then) -> None:
        """The ID of a command that was given before, with other content."""
        changes = {"instance_id": place} if place else {"actor": "somebody else"}
        first = _one_of(self._living(), which).command
        command: Command | Bulk
        if isinstance(first, Bulk):
            command = Bulk.model_validate(first.as_json | {"actor": "somebody else"})
        else:
            command = Command.model_validate({**first.model_dump(), **changes})
        if all(work.command.hash != command.hash for work in self.works):
            self._begin(self._given(command), host, True)
        self._go_on(then)

    @precondition(lambda self: len(self.works) < WORKS_MAX)
    @rule(kind=st.sampled_from(BulkType), items=_items, redis=_wrongs, hosts=_some_hosts, then=_then)
    def give_bulk(self, kind: BulkType, items: list[Item], redis: str | None, hosts: list[int], then: Then) -> None:
        """A new bulk command with several items of one instance perhaps, and an attempt or two at once."""
        self._mistake(items[0][0], redis)
        work = self._given(self._bulk(kind, items))
        for host in hosts:
            self._begin(work, host, True)
        self._go_on(then)

    @precondition(lambda self: self._living_bulks())
    @rule(which=_which, host=_hosts, then=_then)
    def cancel(self, which: int, host: int, then: Then) -> None:
        """A bulk command is asked to stop: an attempt closes it, beside those that are alive."""
        self._begin(_one_of(self._living_bulks(), which), host, True, closing=True)
        self._go_on(then)

    # Actions of workflows and processes

    @precondition(lambda self: self._living())
    @rule(which=_which, host=_hosts, quick=st.booleans(), then=_then)
    def try_again(self, which: int, host: int, quick: bool, then: Then) -> None:
        """One more attempt, whether or not others are alive."""
        self._begin(_one_of(self._living(), which), host, quick)
        self._go_on(then)

    @precondition(lambda self: self._living())
    @rule(which=_which, then=_then)
    def terminate(self, which: int, then: Then) -> None:
        """A workflow is terminated: its command is not retried, and what is alive of it has become a zombie."""
        command_id = _one_of(self._living(), which).command.command_id
        for work in self.works:
            work.terminated = work.terminated or work.command.command_id == command_id
        self.world.workflows.running.discard(command_id)
        self._go_on(then)

    @rule(host=_hosts, then=_then)
    def sweep(self, host: int, then: Then) -> None:
        """Reconciliation begins, beside everything else."""
        self.crew.begin("sweep", self.hosts[host], self._swept(self.hosts[host].process))
        self._go_on(then)

    @precondition(lambda self: self.crew.waiting())
    @rule(who=_which, request=st.integers(0, 2), count=st.integers(1, 12))
    def step(self, who: int, request: int, count: int) -> None:
        """Let an attempt make some requests, one after the other."""
        self._go_on((who, count), request)

    @precondition(lambda self: self.crew.waiting())
    @rule(who=_which, then=_then)
    def step_to_the_end(self, who: int, then: Then) -> None:
        """Let an attempt go as far as it comes without waiting for anybody."""
        self._go_on((who, 200))
        self._go_on(then)

    @precondition(lambda self: self.crew.waiting())
    @rule(who=_which, then=_then)
    def lose_an_answer(self, who: int, then: Then) -> None:
        """A request takes effect, and its answer never comes."""
        self.answer_is_lost = True
        self._go_on((who, 1))
        self.answer_is_lost = False
        self._go_on(then)

    @precondition(lambda self: self.crew.attempts)
    @rule(who=_which, crash=st.booleans(), then=_then)
    def end_an_attempt(self, who: int, crash: bool, then: Then) -> None:
        """Its process ends, and another takes the place; or Temporal has waited long enough for it alone."""
        attempt = _one_of(self.crew.attempts, who)
        if crash:
            self.crew.crash(attempt.host)
            self.hosts = [self._host() if host.dead else host for host in self.hosts]
        else:
            self.crew.time_out(attempt)
        self._go_on(then)

    @rule(seconds=st.sampled_from([6.0, 0.1]), then=_then)
    def pass_time(self, seconds: float, then: Then) -> None:
        """A lease runs out; polls come due; a quick attempt's time is over."""
        self.loop.pass_time(seconds)
        self._go_on(then)

    # Failures

    @rule(what=st.sampled_from(["everything", "leases", "known", "statuses"]), then=_then)
    def empty_redis(self, what: str, then: Then) -> None:
        redis = self.world.redis
        if what == "everything":
            redis.flush()
        else:
            getattr(redis, what).clear()
            redis.queues.clear()
        self._go_on(then)

    @rule(place=_places, wrong=_wrongs, then=_then)
    def mistake_an_instance(self, place: str, wrong: str | None, then: Then) -> None:
        """Redis is restored from an older copy, or claims what S3 does not have."""
        self._mistake(place, wrong)
        self._go_on(then)

    @rule(name=st.sampled_from(SERVERS), meanwhile=_then, then=_then)
    def cut_off(self, name: str, meanwhile: Then, then: Then) -> None:
        """A server is away while a process proceeds."""
        server = getattr(self.world, name)
        server.available = False
        self._go_on(meanwhile)
        server.available = True
        self._go_on(then)

    @rule(then=_then)
    def silence_or_heal_kafka(self, then: Then) -> None:
        self.world.publisher.available = not self.world.publisher.available
        self._go_on(then)

    @precondition(lambda self: self.world.publisher.incarnation == 0)
    @rule(then=_then)
    def make_the_topic_anew(self, then: Then) -> None:
        """The topic is lost with all that is in it, and made anew."""
        self.world.publisher.make_anew()
        self._go_on(then)

    @invariant()
    def nothing_is_broken(self) -> None:
        self._look()

    def teardown(self) -> None:
        try:
            if not self.failed:
                self._end()
        finally:
            for host in self.hosts:
                self.crew.crash(host)
            self.loop.pass_time(60.0)  # sleeping attempts wake up, and find themselves dead
            self.loop.close()
            self.patch.undo()

    def _end(self) -> None:
        """Heal everything and bring all work to its end; then what was frozen all the while wakes up."""
        for name in SERVERS:
            getattr(self.world, name).available = True
        self.loop.pass_time(10.0)  # leases of frozen processes expire
        self._bring_to_end()
        done = self._written()
        self.crew.run_out()
        self._look()
        for key in self._written() - done:
            assert self._of_abandoned(key), f"an attempt that woke up late wrote {key}"
        self._bring_to_end()

    def _bring_to_end(self) -> None:
        """Reconciliation finishes the rest, and every workflow that is left to its own command."""
        tally = self.loop.finish(sweep(self.world))
        assert (tally.damaged, tally.unfinished) == (0, 0), tally
        looked = self.loop.finish(sweep(self.world, LOOK_ONLY))
        assert (looked.found, looked.damaged) == (0, 0), looked
        self.observer.check_swept(self.world.workflows.running)
        swept = self._written()
        for work in sorted(self.works, key=lambda work: not work.terminated):
            if not work.terminated or self._bound(work):
                self.loop.finish(self.stories.of(self._host().process, work.command))
            if work.terminated:
                assert self._written() == swept, f"{work.command.command_id} was left without an end"
        if self.world.publisher.incarnation:
            self._sweep_once_all_have_ended()
        abandoned = {work.command.command_id for work in self.works if not (self._bound(work) or not work.terminated)}
        self.observer.check_all_done(abandoned)
        self.abandoned = abandoned

    def _sweep_once_all_have_ended(self) -> None:
        """A workflow that had ended before the topic was lost sends nothing again: that is for the check to do."""
        running = set(self.world.workflows.running)
        self.world.workflows.running.clear()
        tally = self.loop.finish(sweep(self.world))
        assert (tally.damaged, tally.unfinished) == (0, 0), tally
        self.world.workflows.running.update(running)

    def _living(self) -> list[Work]:
        return [work for work in self.works if not work.terminated]

    def _living_bulks(self) -> list[Work]:
        return [work for work in self._living() if isinstance(work.command, Bulk)]

    def _bound(self, work: Work) -> bool:
        """Whether any attempt came so far as to write a record."""
        return f"commands/{work.command.command_id}/000001.json" in self.world.bucket.objects

    def _written(self) -> set[str]:
        return {key for key in self.world.bucket.objects if key.startswith(("events/", "commands/"))}

    def _of_abandoned(self, key: str) -> bool:
        """Whether an object is of a command that was terminated before it was bound to anything."""
        if key.startswith("commands/"):
            return key.split("/")[1] in self.abandoned
        return read_event(self.world.bucket.objects[key].body, where=key).command_id in self.abandoned

    def _command(self, kind: CommandType, place: str, version: int | None = None) -> Command:
        number = len(self.works) + 1
        payload = {} if kind is CommandType.DELETE_INSTANCE else {f"by_c{number}": True}
        identity = {"command_id": f"c{number}", "db_name": "shop", "class_id": "Product", "instance_id": place}
        return Command(command_type=kind, payload=payload, expected_version=version, **identity)

    def _bulk(self, kind: BulkType, given: list[Item]) -> Bulk:
        number = len(self.works) + 1
        items: list[dict[str, Any]] = [{"instance_id": place, "expected_version": version} for place, version in given]
        items = [{name: value for name, value in item.items() if value is not None} for item in items]
        if kind is not BulkType.BULK_DELETE_INSTANCES:
            items = [item | {"payload": {f"by_c{number}": index}} for index, item in enumerate(items)]
        identity = {"command_id": f"c{number}", "db_name": "shop", "class_id": "Product"}
        return Bulk.model_validate({"command_type": kind, "payload": {"items": items}, **identity})

    def _go_on(self, then: Then, request: int = 0) -> None:
        """Let one attempt make so many requests; everything is looked at after each."""
        who, count = then
        waiting = self.crew.waiting()
        for _ in range(count if waiting else 0):
            attempt = _one_of(waiting, who)
            if attempt not in self.crew.waiting():
                break
            self.crew.step(attempt, request)
            self._look()

    def _mistake(self, place: str, wrong: str | None) -> None:
        """Let Redis know another head than there is and nothing of the state there, or nothing at all."""
        key, redis = f"shop/{self.class_id}/{place}", self.world.redis
        known = redis.known.get(key)
        if wrong == "emptied":
            redis.known.drop(key)
        elif wrong and known is not None and known.head is not None and known.published:
            head = max(1, known.head + (1 if wrong == "ahead" else -1))
            published = {generation: min(through, head) for generation, through in known.published.items()}
            changed = replace(known, head=head, published=published, state=None)
            redis.known.put(key, changed, ttl_s=redis.memory_s)

    def _given(self, command: Command | Bulk) -> Work:
        work = Work(command)
        self.works.append(work)
        self.world.workflows.running.add(command.command_id)
        self.observer.begins(command)
        return work

    def _begin(self, work: Work, host: int, quick: bool, *, closing: bool = False) -> None:
        work.attempts += 1
        process = self.hosts[host].process
        story = self._tried(self.stories.of(process, work.command, number=work.attempts, quick=quick, closing=closing))
        self.crew.begin(f"{work.command.command_id}.{work.attempts}", self.hosts[host], story)

    async def _tried(self, story: Coroutine[Any, Any, None]) -> None:
        """An activity that fails is tried again by Temporal, which is what ``try_again`` is for."""
        with suppress(StoreUnavailable, AggregateBusy):
            await story

    async def _swept(self, process: Process) -> None:
        with suppress(StoreUnavailable):
            tally = await sweep(self.world, process=process)
            assert not tally.damaged, tally

    def _host(self) -> Host:
        self.hosts_started += 1
        return Host(f"process {self.hosts_started}", self.world.process())

    def _lose_answer(self) -> None:
        if self.answer_is_lost:
            raise StoreUnavailable("a server in memory", "a request", "the answer was lost")

    def _look(self) -> None:
        try:
            self.crew.check()
            self.observer.look()
        except BaseException:
            self.failed = True
            raise


def _one_of(some: Sequence[T], which: int) -> T:
    return some[which % len(some)]

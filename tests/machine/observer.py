"""Looks at the servers after every step, and at every answer: invariants, reported when they break."""

import json
from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.items import ItemChange, change_of
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.decide import decide
from oncelog.domain.events import Event, read_event
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.results import CommandResult, Outcome, Rejection, RejectionCode
from oncelog.domain.stored_names import PUBLISHED_THROUGH, PUBLISHED_TOPIC
from oncelog.read_models.document import document_of
from oncelog.stores.s3.bucket import StoredObject
from tests.write.bulks import lines as results_of
from tests.write.world import World


@dataclass
class Log:
    """The facts about one aggregate's log: its events, and its states from before the first to after the last."""

    states: list[Instance]
    events: list[Event] = field(default_factory=list)
    delivered: int = 0
    answered: int = 0  # the highest sequence number that anybody was told of


@dataclass
class Given:
    """A command that was given. ``heads`` and ``answered``: of its aggregates when its first attempt began."""

    command: Command | Bulk
    heads: dict[str, int]
    answered: dict[str, int]
    result: CommandResult | None = None

    @property
    def event_ids(self) -> list[str]:
        """The events it may make, by index of its items."""
        items = self.command.payload.items or [] if isinstance(self.command, Bulk) else [self.command]
        return [derive_event_id(self.command.command_id, index) for index in range(len(items))]


class Observer:
    """Raises AssertionError as soon as a promise is seen to be broken."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._objects: dict[str, StoredObject] = {}
        self._event_ids: set[str] = set()
        self._new_events: list[str] = []
        self._messages_seen = 0
        self._topic = 0
        self.logs: dict[str, Log] = {}
        self.given: dict[tuple[str, str], Given] = {}

    def log(self, aggregate_id: str) -> Log:
        return self.logs.setdefault(aggregate_id, Log([Instance(aggregate_id=aggregate_id)]))

    def begins(self, command: Command | Bulk) -> None:
        """Note what stood before the command can have done anything."""
        logs = {name: self.log(name) for name in _aggregates(command)}
        heads = {name: len(log.events) for name, log in logs.items()}
        answered = {name: log.answered for name, log in logs.items()}
        self.given.setdefault((command.command_id, command.hash), Given(command, heads, answered))

    def answers(self, command: Command, result: CommandResult) -> None:
        """Hold an answer to be the first one again, and true."""
        given = self._answered(command, result)
        name = str(command.aggregate_id)
        log = self.log(name)
        if result.outcome is Outcome.APPLIED:
            number = result.sequence_number or 0
            event = log.events[number - 1]
            assert (event.event_id, event.command_hash) == (result.event_id, command.hash), f"{result} is not {event}"
            assert number > given.answered[name], (
                f"{command.command_id} went before what was answered before it was given"
            )
            log.answered = max(log.answered, number)
        elif result.rejection and result.rejection.code is not RejectionCode.COMMAND_ID_REUSED:
            self._check_rejection(given, command, result.rejection)

    def answers_bulk(self, bulk: Bulk, result: BulkResult) -> None:
        """Hold an answer and its lines to be the first ones again, and each line to be true."""
        given = self._answered(bulk, result)
        if result.rejection is not None:
            return
        lines: list[dict[str, Any]] = results_of(self._world, result)
        last: dict[str, int] = {}
        for line, event_id in zip(lines, given.event_ids, strict=True):
            assert (event_id in self._event_ids) == (line["outcome"] == "APPLIED"), f"{bulk.command_id}: {line}"
            name = str(line.get("aggregate_id"))
            if line["outcome"] == "APPLIED":
                number = line["sequence_number"]
                assert self.log(name).events[number - 1].event_id == event_id, f"{bulk.command_id}: {line}"
                assert number > max(given.answered[name], last.get(name, 0)), f"{bulk.command_id}: {line} is early"
                last[name] = number
            elif line["outcome"] == "REJECTED":
                rejection = Rejection.model_validate(line["rejection"])
                change = change_of(bulk, line["index"], (bulk.payload.items or [])[line["index"]])
                assert isinstance(change, ItemChange)
                self._check_rejection(given, change, rejection, least=last.get(name, 0))
        for name, number in last.items():
            self.log(name).answered = max(self.log(name).answered, number)

    def _answered(self, command: Command | Bulk, result: CommandResult) -> Given:
        self.look()
        given = self.given[command.command_id, command.hash]
        assert given.result in (None, result), f"{command.command_id} answered {given.result} first, then {result}"
        given.result = result
        return given

    def look(self) -> None:
        """Hold everything against what stood before."""
        self._check_objects()
        self._check_closed()
        self._check_stream()
        self._check_watermarks()
        self._check_documents()

    def _check_rejection(
        self, given: Given, change: Command | ItemChange, rejection: Rejection, *, least: int = 0
    ) -> None:
        """A rejection names the version it rests on; that must have been the head since the command was given.

        ``least``: where the last item before it on the same aggregate was applied.
        """
        name = str(change.aggregate_id)
        log, found, who = self.log(name), rejection.details["found_version"], given.command.command_id
        assert max(given.heads[name], least) <= found <= len(log.events), (
            f"{who}: rejected on {found} of {name}, which was no head"
        )
        decided = decide(log.states[found], change, occurred_at="")
        assert isinstance(decided, Rejection), f"{who}: rejected, and {name} version {found} would accept it"
        assert decided.code == rejection.code, f"{who}: rejected for what is not true of {name} version {found}"

    def _check_objects(self) -> None:
        objects = self._world.bucket.objects
        kept = {key: stored for key, stored in objects.items() if key.startswith(("events/", "commands/"))}
        for key, stored in self._objects.items():
            assert kept.get(key) == stored, f"{key} was changed"
        new = sorted(kept.keys() - self._objects.keys())
        self._new_events = [key for key in new if key.startswith("events/")]
        for key in self._new_events:
            self._add_event(key, kept[key])
        self._objects = kept

    def _add_event(self, key: str, stored: StoredObject) -> None:
        event = read_event(stored.body, where=key)
        log = self.log(event.aggregate_id)
        log.states.append(evolve(log.states[-1], event))  # raises on a gap, a fork, a broken chain
        log.events.append(event)
        assert event.event_id not in self._event_ids, f"{event.event_id} was written twice"
        self._event_ids.add(event.event_id)
        self._check_bound(event)
        known = [given for (command_id, _), given in self.given.items() if command_id == event.command_id]
        assert any(given.command.hash == event.command_hash for given in known), f"nobody gave {event}"
        for given in known:
            rejected = given.result is not None and given.result.outcome is Outcome.REJECTED
            assert not (rejected and given.command.hash == event.command_hash), f"{event} was rejected before"

    def _check_bound(self, event: Event) -> None:
        """Rule R2: a record named this slot for this event before, and gave the time, and its data if it is decided."""
        slots, times = set[tuple[str, str, int]](), set[str]()
        for key, stored in self._world.bucket.objects.items():
            if not key.startswith(f"commands/{event.command_id}/"):
                continue
            fields = json.loads(stored.body)
            times.update(fields[name] for name in ("occurred_at",) if name in fields)
            if fields.get("slot") == event.sequence_number and "event" in fields:
                assert fields["event"]["data"] == event.data, f"{event} is not what its record decided"
            for bound in fields.get("bindings", [{**fields, "index": 0}]):
                if bound.get("slot"):
                    event_id = derive_event_id(event.command_id, bound["index"])
                    slots.add((event_id, bound["aggregate_id"], bound["slot"]))
        found = (event.event_id, event.aggregate_id, event.sequence_number)
        assert found in slots, f"no record bound {event}"
        assert times == {event.occurred_at}, f"{event} has a time of its own"

    def _check_closed(self) -> None:
        """A bulk command that is closed has no event, and no record, beyond its close."""
        for key in (key for key in self._objects if key.startswith("commands/") and "/chunks/" in key):
            fields = json.loads(self._objects[key].body)
            if "closed" not in fields:
                continue
            command_id, chunk = fields["command_id"], fields["chunk"]
            plan = json.loads(self._objects[f"commands/{command_id}/000001.json"].body)["plan"]
            first, count = plan["chunks"][chunk - 1]["first"], plan["items_count"]
            beyond = {derive_event_id(command_id, index) for index in range(first, count)}
            assert not beyond & self._event_ids, f"{command_id} has an event beyond its close"
            later = f"commands/{command_id}/chunks/{chunk + 1:06d}/"
            assert not any(other.startswith(later) for other in self._objects), f"{command_id} went on beyond its close"

    def _check_stream(self) -> None:
        messages = self._world.publisher.messages
        if self._topic != self._world.publisher.incarnation:  # made anew: consumers start anew, too
            self._topic, self._messages_seen = self._world.publisher.incarnation, 0
            for log in self.logs.values():
                log.delivered = 0
        for message in messages[self._messages_seen :]:
            event = read_event(message.value, where="the stream")
            log = self.log(event.aggregate_id)
            number = event.sequence_number
            assert message.value == log.events[number - 1].canonical, f"{event} is not what is stored"
            if number > log.delivered + 1:
                assert self._topic, f"{event.aggregate_id}: {number} delivered after {log.delivered}"
                continue  # was on its way when the topic was made anew, and consumers drop it
            log.delivered = max(log.delivered, number)
        self._messages_seen = len(messages)

    def _check_watermarks(self) -> None:
        """Redis and the events' metadata may understate what is published, never overstate it (rule R3)."""
        for key in self._new_events:
            log = self.log(key.removeprefix("events/").rpartition("/")[0])
            metadata = self._objects[key].metadata
            if int(metadata.get(PUBLISHED_TOPIC, 1)) != self._topic + 1:
                continue  # it says nothing of the topic as it is
            through = int(metadata[PUBLISHED_THROUGH])
            assert through <= log.delivered, f"{key} says {through} are published, {log.delivered} are"
        for aggregate_id, log in self.logs.items():
            known = self._world.redis.known.get(aggregate_id)
            published = known.published.get(self._topic + 1, 0) if known else 0
            assert published <= log.delivered, f"{aggregate_id}: {published} counts as published, {log.delivered} are"

    def _check_documents(self) -> None:
        for index in self._world.documents.indices.values():
            for document in index.values():
                log = self.log(str(document.aggregate_id))
                assert document == document_of(log.states[document.sequence_number]), f"{document} is not the fold"

    def check_swept(self, running: Set[str]) -> None:
        """Hold that everything has reached everywhere, but for aggregates whose last command's workflow goes on."""
        self.look()
        for aggregate_id, log in self.logs.items():
            if log.events and log.events[-1].command_id not in running:
                assert log.delivered == len(log.events), f"{aggregate_id}: not everything was published"
                self._world.check_document(log.events[-1].aggregate)

    def check_all_done(self, abandoned: Set[str]) -> None:
        """Hold that everybody who was to be answered was, and that everything has reached everywhere.

        ``abandoned``: whose workflow was terminated before anything was bound.
        """
        self.look()
        winners: defaultdict[str, int] = defaultdict(int)
        for (command_id, _), given in self.given.items():
            if command_id in abandoned:
                assert given.result is None, f"{command_id} was answered and left no record"
                continue
            assert given.result is not None, f"{command_id} has no answer"
            rejection = given.result.rejection
            winners[command_id] += rejection is None or rejection.code is not RejectionCode.COMMAND_ID_REUSED
        assert set(winners.values()) <= {1}, f"more or less than one content was accepted: {dict(winners)}"
        answered = {event_id for given in self.given.values() if _applied(given) for event_id in given.event_ids}
        assert self._event_ids <= answered, "an event is nobody's"
        self.check_swept(frozenset())


def _aggregates(command: Command | Bulk) -> list[str]:
    if isinstance(command, Command):
        return [str(command.aggregate_id)]
    changes = [change_of(command, index, item) for index, item in enumerate(command.payload.items or [])]
    return [str(change.aggregate_id) for change in changes if isinstance(change, ItemChange)]


def _applied(given: Given) -> bool:
    return given.result is not None and given.result.outcome is Outcome.APPLIED

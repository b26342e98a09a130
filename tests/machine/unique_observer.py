"""Looks at unique values after every step: holders, from the objects alone and by none of the code under test.

Every write to the bucket is noted in its order, so that each moment counts, also within steps that make many requests.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from hashlib import sha256
from typing import Any, NamedTuple

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.commands import Command
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.stores.s3.bucket import StoredObject
from tests.machine.observer import Given, Observer
from tests.write.world import World

#: The constraints, each on the member of its name.
MEMBERS = ("mail", "plate")
INSTANCES = "events/shop/Product/"

Value = tuple[str, str]
"""A constraint and a value's SHA-256."""


class Head(NamedTuple):
    """An instance at its head. ``data`` None: it is not there; ``holds``: its values, if it is covered."""

    version: int = 0
    data: dict[str, Any] | None = None
    holds: frozenset[Value] = frozenset()
    covered: bool = False

    def after(self, event: Mapping[str, Any], *, constrained_since: int) -> "Head":
        """Return the head after one more event; the class has its constraints from that definition on."""
        data: dict[str, Any] | None
        match event["effect"]:
            case "REPLACE":
                data = dict(event["data"])
            case "MERGE":
                data = {**(self.data or {}), **event["data"]}
            case _:
                data = None
        covered = event["definition"]["sequence_number"] >= constrained_since
        return Head(event["sequence_number"], data, frozenset(_values(data or {})) if covered else frozenset(), covered)


def _values(data: Mapping[str, Any]) -> Iterator[Value]:
    for member in MEMBERS:
        if data.get(member) is not None:
            yield member, sha256(json.dumps(data[member]).encode()).hexdigest()


def heads_of(objects: Mapping[str, StoredObject], *, constrained_since: int) -> dict[str, Head]:
    """Return every instance's head."""
    heads: defaultdict[str, Head] = defaultdict(Head)
    for key in sorted(key for key in objects if key.startswith(INSTANCES)):
        event = json.loads(objects[key].body)
        name = event["aggregate_id"]
        heads[name] = heads[name].after(event, constrained_since=constrained_since)
    return heads


def check_holders(heads: Mapping[str, Head]) -> None:
    """Hold that no two instances hold one value."""
    holders: dict[Value, str] = {}
    for name, head in heads.items():
        for value in head.holds:
            other = holders.setdefault(value, name)
            assert other == name, f"{other} and {name} hold {value[0]} at the same time"


class UniqueObserver(Observer):
    """The observer of unique values. ``constrained_since``: the class's definition that declared the constraints."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._bucket = world.bucket
        self._written: dict[str, None] = {}  # the keys of objects in the order of their writing
        self._followed = 0
        self._moments: list[dict[str, Head]] = [{}]  # all heads, after each event
        self._begun: dict[str, int] = {}  # the moment when a command was given first
        self._entries: dict[str, StoredObject] = {}
        self._rejected: set[str] = set()  # single commands that a record rejects
        self.constrained_since = 1

    def begins(self, command: Command | Bulk) -> None:
        super().begins(command)
        self._begun.setdefault(command.command_id, len(self._moments) - 1)

    def written(self, operation: str, key: str) -> None:
        """Note an object as soon as it is there."""
        if operation == "PutObject" and key in self._bucket.objects:
            self._written.setdefault(key)

    def look(self) -> None:
        """Hold everything against what stood before, moment after moment."""
        super().look()
        self._check_entries()
        new = list(self._written)[self._followed :]
        self._followed += len(new)
        for key in new:
            if key.startswith(INSTANCES):
                self._follow_event(json.loads(self._bucket.objects[key].body))
            elif key.startswith("commands/"):
                self._follow_record(json.loads(self._bucket.objects[key].body))

    def _check_entries(self) -> None:
        """Entries are never changed."""
        entries = {key: stored for key, stored in self._bucket.objects.items() if key.startswith("unique/")}
        for key, stored in self._entries.items():
            assert entries.get(key) == stored, f"{key} was changed"
        self._entries = entries

    def _follow_event(self, event: Mapping[str, Any]) -> None:
        """At no moment do two instances hold one value, and no instance goes back to where it held none (V6)."""
        heads = dict(self._moments[-1])
        name = event["aggregate_id"]
        before = heads.get(name, Head())
        heads[name] = before.after(event, constrained_since=self.constrained_since)
        self._moments.append(heads)
        check_holders(heads)
        assert heads[name].covered or not before.covered, f"{name} is under its constraints no more"
        assert event["command_id"] not in self._rejected, f"{event['command_id']} was rejected, and has an event"

    def _follow_record(self, record: Mapping[str, Any]) -> None:
        """Hold each rejection for a value to be justified before its record was written (V5)."""
        ahead: defaultdict[str, int] = defaultdict(int)  # slots of the same record, by aggregate
        for bound in record.get("bindings", [record]):
            rejection = bound.get("rejection")
            if rejection and rejection["code"] == RejectionCode.UNIQUE_VIOLATED:
                name = bound["aggregate_id"]
                self._check_justified(record["command_id"], name, rejection["details"], ahead=ahead[name])
            elif bound.get("slot"):
                ahead[bound["aggregate_id"]] += 1
        if "rejection" in record:
            command_id = record["command_id"]
            assert derive_event_id(command_id, 0) not in self._event_ids, f"{command_id} is rejected, and has an event"
            self._rejected.add(command_id)

    def _check_justified(self, command_id: str, name: str, details: Mapping[str, Any], *, ahead: int) -> None:
        """At one moment since the command was given the holder held the value, and the aggregate ended before the slot.

        ``ahead``: how many items of the same record come before on the aggregate.
        """
        holder, slot = details["holder"], details["found_version"] - ahead + 1
        value = details["constraint"], details["sha256"]
        assert holder != name, f"{command_id}: {name} is refused a value for holding it itself"
        for heads in self._moments[self._begun[command_id] :]:
            head = heads.get(holder, Head())
            held = value in head.holds and head.version == details["holder_version"]
            if held and heads.get(name, Head()).version == slot - 1:
                return
        raise AssertionError(f"{command_id}: {name}/{slot} refused {value[0]} of {holder}, and at no moment was it due")

    def check_swept(self, running: Set[str]) -> None:
        """Publication and read models are the concern of the other machine."""
        del running
        self.look()

    def _check_rejection(
        self, given: Given, change: Command | ItemChange, rejection: Rejection, *, least: int = 0
    ) -> None:
        """Leave out that of a value: it was held to be justified when its record was written."""
        if rejection.code is not RejectionCode.UNIQUE_VIOLATED:
            super()._check_rejection(given, change, rejection, least=least)

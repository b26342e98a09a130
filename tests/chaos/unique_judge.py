"""Judges the holders of unique values at every moment of a run, and whether each refusal was due.

At any moment at most one live instance held a value. Three witnesses: the heads of the logs; the order that the
chains of values fix, each of whose entries cites the event that ended the one before; and S3's clock.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.chaos.unique_log import Bound, UniqueLog, Value, Version

#: Of S3's clock, as it is listed.
CLOCK_RESOLUTION = timedelta(seconds=1)


@dataclass(frozen=True)
class Holding:
    """One instance had a value from version ``begins`` on, and from ``ends`` on no more (None: it has it still).

    ``place``: the place in the value's chain by which it came to it.
    """

    aggregate_id: str
    value: Value
    begins: int
    ends: int | None
    place: int

    def __str__(self) -> str:
        return f"{self.aggregate_id} from version {self.begins} to {self.ends or 'now'}"


@dataclass(frozen=True)
class UniqueVerdict:
    """The findings, and how much there was to judge."""

    findings: list[str]
    figures: Mapping[str, int]


def judge_unique(log: UniqueLog, *, began_at: Mapping[str, datetime]) -> UniqueVerdict:
    """Judge what a run has left. ``began_at``: when each command was first sent, by the clock that S3 has as well."""
    judge = _Judge(log, began_at)
    return UniqueVerdict([*judge.findings()], judge.figures())


class _Judge:
    def __init__(self, log: UniqueLog, began_at: Mapping[str, datetime]) -> None:
        self._log = log
        self._began_at = began_at
        self._of_slot = {
            (bound.command_id, bound.says["aggregate_id"], bound.says["slot"]): bound
            for bound in log.last_bounds
            if "slot" in bound.says
        }
        self._refusals = [
            bound
            for bound in log.last_bounds
            if (bound.says.get("rejection") or {}).get("code") == "UniqueViolated" and self._is_of_class(bound)
        ]
        self._holdings: defaultdict[Value, list[Holding]] = defaultdict(list)
        for aggregate_id, versions in log.instances.items():
            for holding in self._holdings_of(aggregate_id, versions):
                self._holdings[holding.value].append(holding)
        for holdings in self._holdings.values():
            holdings.sort(key=lambda holding: holding.place)

    def findings(self) -> Iterator[str]:
        """Yield all that is wrong."""
        for aggregate_id, versions in self._log.instances.items():
            for version in versions:
                yield from self._judge_event(aggregate_id, version)
        for value in self._log.chains:
            yield from self._judge_chain(value)
        for holdings in self._holdings.values():
            yield from self._judge_heads(holdings)
            yield from self._judge_order(holdings)
            yield from self._judge_clock(holdings)
        for bound in self._refusals:
            yield from self._judge_refusal(bound)
        yield from self._judge_ends()

    def figures(self) -> dict[str, int]:
        """Count. ``handed_over``: how often a value went from one instance to another."""
        entries = [entry for chain in self._log.chains.values() for entry, _ in chain.values()]
        pairs = [pair for holdings in self._holdings.values() for pair in pairwise(holdings)]
        held = [holding for holdings in self._holdings.values() for holding in holdings]
        return {
            "values": len(self._holdings),
            "holdings": len(held),
            "handed_over": sum(one.aggregate_id != other.aggregate_id for one, other in pairs),
            "held_at_the_end": sum(holding.ends is None for holding in held),
            "entries": len(entries),
            "entries_that_came_to_nothing": len(entries) - len(held),
            "refused": len(self._refusals),
        }

    def _is_of_class(self, bound: Bound) -> bool:
        return str(bound.says.get("aggregate_id")).startswith(f"{self._log.class_name}/")

    def _holdings_of(self, aggregate_id: str, versions: list[Version]) -> Iterator[Holding]:
        for number, version in enumerate(versions, start=1):
            before = versions[number - 2].held if number > 1 else frozenset()
            for value in version.held - before:
                later = enumerate(versions[number:], start=number + 1)
                ends = next((at for at, after in later if value not in after.held), None)
                yield Holding(aggregate_id, value, number, ends, self._place_of(version, value))

    def _place_of(self, version: Version, value: Value) -> int:
        """Return the place by which an event brought a value in, 0 where no record names one."""
        bound = self._bound_of(version)
        places = bound.places if bound else []
        return next((place["n"] for place in places if (place["constraint"], place["sha256"]) == value), 0)

    def _bound_of(self, version: Version) -> Bound | None:
        event = version.event
        return self._of_slot.get((event["command_id"], event["aggregate_id"], event["sequence_number"]))

    def _judge_event(self, aggregate_id: str, version: Version) -> Iterator[str]:
        """Hold that an event's record names what it brings in, no more, and that each place is the event's own."""
        number, bound = version.event["sequence_number"], self._bound_of(version)
        where = f"{aggregate_id} version {number}"
        if bound is None:
            yield f"{where}: the last record of command {version.event['command_id']} does not bind it"
            return
        before = self._log.instances[aggregate_id][number - 2].held if number > 1 else frozenset()
        named = {(place["constraint"], place["sha256"]) for place in bound.places}
        if named != version.held - before:
            yield f"{where}: brings in {sorted(version.held - before)}, its record names {sorted(named)}"
        for place in bound.places:
            entry, stored = self._log.chains.get((place["constraint"], place["sha256"]), {}).get(
                place["n"], (None, None)
            )
            if entry is None or stored is None or not bound.named(entry):
                yield f"{where}: place {place['n']} of {place['constraint']} is not its own: {entry}"
            elif stored.written_at > version.written_at + CLOCK_RESOLUTION:
                yield f"{where}: written before its entry in {place['constraint']} {place['n']}"

    def _judge_chain(self, value: Value) -> Iterator[str]:
        """Hold that a chain has no gap, and that each entry's record names it and cites what ended the one before."""
        chain = self._log.chains[value]
        if sorted(chain) != list(range(1, len(chain) + 1)):
            yield f"{value}: expected places 1 to {len(chain)}, found {sorted(chain)}"
            return
        for place, (entry, stored) in sorted(chain.items()):
            item = (entry["chunk"], entry["item"]) if "chunk" in entry else None
            bound = self._log.bounds.get((entry["command_id"], item, entry["record"]))
            own = [each for each in (bound.places if bound else []) if (each["constraint"], each["sha256"]) == value]
            if bound is None or not bound.named(entry) or [each["n"] for each in own] != [place]:
                yield f"{value} place {place}: no record names it: {entry}"
                continue
            if bound.written_at > stored.written_at + CLOCK_RESOLUTION:
                yield f"{value} place {place}: written before its record"
            cited = own[0].get("ended_by")
            if place > 1 and not (cited and self._is_over(value, chain[place - 1][0], cited)):
                yield f"{value} place {place}: cites {cited}, which does not end the entry before"

    def _is_over(self, value: Value, entry: Mapping[str, Any], cited: Mapping[str, str]) -> bool:
        """Return whether the object that is cited shows an entry to be over."""
        if cited["key"].startswith("events/"):
            version = self._log.version(cited["key"])
            return (
                version is not None
                and version.event["checksum"] == cited["checksum"]
                and version.event["aggregate_id"] == entry["aggregate_id"]
                and version.event["sequence_number"] >= entry["slot"]
                and value not in version.held
            )
        stored = self._log.objects.get(cited["key"])
        beside = [
            place
            for place in entry["places"]
            if self._log.entry_key((place["constraint"], place["sha256"]), place["n"]) == cited["key"]
        ]
        if stored is None or not beside or hashlib.sha256(stored.body).hexdigest() != cited["checksum"]:
            return False
        other = self._log.chains[beside[0]["constraint"], beside[0]["sha256"]][beside[0]["n"]][0]
        identity = ("aggregate_id", "slot", "command_id", "record", "chunk", "item")
        return any(entry.get(name) != other.get(name) for name in identity)

    def _judge_heads(self, holdings: list[Holding]) -> Iterator[str]:
        live = [holding for holding in holdings if holding.ends is None]
        if len(live) > 1:
            yield f"{live[0].value}: two hold it now: {', '.join(map(str, live))}"

    def _judge_order(self, holdings: list[Holding]) -> Iterator[str]:
        """Hold that each holding had ended where the next place was named, by what that place's record cites."""
        for one, other in pairwise(holdings):
            bound = self._bound_of(self._log.instances[other.aggregate_id][other.begins - 1])
            if one.place == other.place or one.ends is None or bound is None:
                yield f"{one.value}: {one} had not ended before {other}"
            elif one.aggregate_id == other.aggregate_id and one.ends > other.begins:
                yield f"{one.value}: {one}, and at the same time {other}"

    def _judge_clock(self, holdings: list[Holding]) -> Iterator[str]:
        """Hold by S3's clock alone, whatever the chains say, that no two held the value at the same time."""
        timed = sorted((*self._times(holding), str(holding)) for holding in holdings)
        for (_, ended_at, one), (began_at, _, other) in pairwise(timed):
            if began_at + CLOCK_RESOLUTION < ended_at:
                yield f"{holdings[0].value}: by S3's clock {one} until {ended_at}, and {other} since {began_at}"

    def _times(self, holding: Holding) -> tuple[datetime, datetime]:
        versions = self._log.instances[holding.aggregate_id]
        began_at = versions[holding.begins - 1].written_at
        ended_at = (
            versions[holding.ends - 1].written_at if holding.ends else began_at.max.replace(tzinfo=began_at.tzinfo)
        )
        return began_at, ended_at

    def _judge_refusal(self, bound: Bound) -> Iterator[str]:
        """Hold that the holder that a refusal names held the value, at that version and at a moment of the command."""
        details = bound.says["rejection"]["details"]
        value, holder = (details["constraint"], details["sha256"]), details["holder"]
        where = f"command {bound.command_id}, item {bound.item}: refused for {value}"
        versions = self._log.instances.get(holder, [])
        number = details["holder_version"]
        if holder == bound.says["aggregate_id"]:
            yield f"{where}, which it holds itself"
        if not 0 < number <= len(versions) or value not in versions[number - 1].held:
            yield f"{where}, which {holder} does not hold at version {number}"
            return
        if versions[number - 1].written_at > bound.written_at + CLOCK_RESOLUTION:
            yield f"{where} before {holder} came to version {number}"
        ended = next((version for version in versions[number:] if value not in version.held), None)
        began_at = self._began_at.get(bound.command_id)
        if ended and began_at and ended.written_at + CLOCK_RESOLUTION < began_at:
            yield f"{where}, which {holder} had let go at {ended.written_at}, before the command began at {began_at}"

    def _judge_ends(self) -> Iterator[str]:
        """Hold that each command and item has the one event that its last record binds, or none where it refuses."""
        made = Counter(
            (version.event["command_id"], aggregate_id, version.event["sequence_number"])
            for aggregate_id, versions in self._log.instances.items()
            for version in versions
        )
        bound = Counter(
            (bound.command_id, bound.says["aggregate_id"], bound.says["slot"])
            for bound in self._log.last_bounds
            if "slot" in bound.says and self._is_of_class(bound)
        )
        for command_id, aggregate_id, slot in bound - made:
            yield f"command {command_id}: bound to {aggregate_id} {slot}, which is another's or empty"
        for command_id, aggregate_id, slot in made - bound:
            yield f"command {command_id}: has event {slot} of {aggregate_id}, which its last record does not bind"

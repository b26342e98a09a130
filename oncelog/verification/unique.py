"""Unique values against the log: each claimed by an entry in its place, each entry founded, followed only once over.

All joins are by aggregate: an entry is held against the log of the instance that it brings a value into, and so is the
evidence by which the next entry of its chain says that it is over.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from oncelog.domain.identifiers import CLASSES
from oncelog.domain.unique.constraint import ValueKey
from oncelog.domain.unique.entry import EndedBy, Place, UniqueEntry
from oncelog.verification.chains import EntryFacts, RefusalFacts
from oncelog.verification.commands import CommandAudit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.log import SLOT_KEY, LogFacts
from oncelog.verification.records import CommandFacts

#: Of an instance: aggregate ID. Of a value: database and class, constraint, hash.
HeldValue = tuple[str, str, str]


@dataclass
class UniqueAudit:
    """Takes entries and rejections about the aggregates with logs and commands at hand; judges them."""

    commands: CommandAudit
    findings: list[Finding] = field(default_factory=list)
    _entries: dict[str, EntryFacts] = field(default_factory=dict)
    _refusals: dict[RefusalFacts, None] = field(default_factory=dict)

    def add_entry(self, facts: EntryFacts) -> None:
        """Take an entry."""
        self._entries[facts.entry.key] = facts
        self.commands.entries.add_entry(facts.entry)

    def add_refusal(self, facts: RefusalFacts) -> None:
        """Take a rejection's claim about a value's holder."""
        self._refusals[facts] = None

    def extend(self, entries: Iterable[EntryFacts], refusals: Iterable[RefusalFacts]) -> None:
        """Take several of both."""
        for entry in entries:
            self.add_entry(entry)
        for refusal in refusals:
            self.add_refusal(refusal)

    def add_chain_finding(self, finding: Finding) -> None:
        """Take a finding about a chain by itself."""
        self.findings.append(finding)

    @property
    def unresolved(self) -> set[str]:
        """The commands that entries name, and of which nothing was read."""
        return {facts.entry.command_id for facts in self._entries.values()} - self.commands.known

    @property
    def unread_evidence(self) -> set[str]:
        """The keys of entries that others cite as evidence, and that were not read."""
        cited = (facts.next.ended_by for facts in self._entries.values() if facts.next)
        keys = {ended_by.key for ended_by in cited if ended_by and not SLOT_KEY.fullmatch(ended_by.key)}
        return {key for key in keys if not self.commands.entries.is_known(key)}

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all logs, records and entries were added."""
        yield from self.findings
        yield from self._judge_events()
        yield from self.judge_entries()
        claimed = (each for each in _refusals_of(self.commands) if self.commands.covers(each.holder))
        for refusal in dict.fromkeys((*self._refusals, *claimed)):
            yield from self._judge_refusal(refusal)

    def judge_entries(self) -> Iterator[Finding]:
        """Yield the entries that no record names, or that were followed before they were over."""
        for facts in self._entries.values():
            if self.commands.covers(facts.entry.aggregate_id):
                yield from self._judge_entry(facts)

    def uncovered(self) -> Iterator[Finding]:
        """Yield the instances that are not covered by a constraint of their class yet."""
        for aggregate_id, log in self.commands.logs.items():
            if log.holdings.uncovered:
                found = (
                    f"expected its last event to be decided under {', '.join(log.holdings.uncovered)}, found an older "
                )
                yield Finding(
                    Code.INSTANCE_UNCOVERED,
                    f"aggregate {aggregate_id}",
                    f"{found}definition; oncelog class cover covers it, an own aggregate's next command does",
                    severity=Severity.PENDING,
                    aggregate_ids=(aggregate_id,),
                )

    def _judge_events(self) -> Iterator[Finding]:
        """Yield the events that bring in a value without its entry."""
        places: dict[tuple[str, int], tuple[str, list[UniqueEntry]]] | None = None
        for aggregate_id, log in self.commands.logs.items():
            for number in log.holdings.changes():
                values = log.holdings.brought_in(number)
                event = log.events.get(number)
                if not values or event is None or number > log.head:
                    continue
                places = places if places is not None else self._bound()
                command_id, entries = places.get((aggregate_id, number), ("", []))
                if command_id == event.command_id:  # else no record binds it there, which is said already
                    yield from self._judge_event(f"slot {aggregate_id} {number}", aggregate_id, values, entries)

        if places is None and any(_names_places(command) for command in self.commands.commands.values()):
            places = self._bound()
        for (aggregate_id, number), (command_id, entries) in (places or {}).items():
            place = aggregate_id, number
            if entries and self._has_event(place, command_id) and not self._brings_in(*place):
                yield from self._judge_event(f"slot {aggregate_id} {number}", aggregate_id, (), entries)

    def _brings_in(self, aggregate_id: str, number: int) -> bool:
        """Return whether the event of a slot brings a value in, or may do so for all that is known."""
        log = self.commands.logs[aggregate_id]
        if log.holdings.after(number) is None or log.holdings.after(number - 1) is None or number > log.head:
            return True
        return bool(log.holdings.brought_in(number))

    def _judge_event(
        self, where: str, aggregate_id: str, values: Iterable[ValueKey], entries: Sequence[UniqueEntry]
    ) -> Iterator[Finding]:
        about = (aggregate_id,)
        named = {entry.value for entry in entries}
        for value in sorted(set(values) - named):
            found = f"expected its record to name a place for {value.constraint} {value.sha256}, found none"
            yield Finding(Code.ENTRY_MISSING, where, found, aggregate_ids=about)
        for entry in entries:
            own, damage = self.commands.entries.is_own(entry), self.commands.entries.damage_under(entry.key)
            if entry.value not in values:
                found = f"named by the record of {where}, which does not bring the value in"
                yield Finding(Code.ENTRY_UNFOUNDED, entry.key, found, aggregate_ids=about)
            elif damage:
                continue  # which the walk through its chain has found
            elif own is None:
                found = f"expected the entry of {where}, found none; restore the object"
                yield Finding(Code.ENTRY_MISSING, entry.key, found, aggregate_ids=about)
            elif not own:
                found = f"expected the entry of {where} as its record says, found another; restore the first version"
                yield Finding(Code.ENTRY_FORGED, entry.key, found, aggregate_ids=about)

    def _bound(self) -> dict[tuple[str, int], tuple[str, list[UniqueEntry]]]:
        """Return by slot the command that a last record binds to it, and the entries that the record names."""
        bound: dict[tuple[str, int], tuple[str, list[UniqueEntry]]] = {}
        for command in self.commands.commands.values():
            if command.records and command.last.slot is not None:
                place = command.last.aggregate_id, command.last.slot
                bound.setdefault(place, (command.command_id, command.entries_of(command.last)))
                if self._has_event(place, command.command_id):
                    bound[place] = command.command_id, command.entries_of(command.last)
        for chunk in self.commands.chunks:
            for number, items in sorted(chunk.records.items()):
                by_item: defaultdict[int | None, list[UniqueEntry]] = defaultdict(list)
                for entry in chunk.entries(number):
                    by_item[entry.item].append(entry)
                for item in items:
                    if item.slot and self._has_event((item.aggregate_id, item.slot), chunk.command_id):
                        bound[item.aggregate_id, item.slot] = chunk.command_id, by_item[item.index]
        return bound

    def _has_event(self, place: tuple[str, int], command_id: str) -> bool:
        log = self.commands.logs.get(place[0])
        event = log.events.get(place[1]) if log else None
        return event is not None and event.command_id == command_id

    def _judge_entry(self, facts: EntryFacts) -> Iterator[Finding]:
        entry, about = facts.entry, (facts.entry.aggregate_id,)
        if not self._is_named(entry):
            found = f"expected record {entry.record} of command {entry.command_id} to name this place, found none"
            yield Finding(Code.ENTRY_UNFOUNDED, entry.key, found, aggregate_ids=about)
        if facts.next is not None and (wrong := self._not_over(facts, facts.next)):
            found = f"expected place {facts.next.n} to be named after this one was over, found {wrong}"
            yield Finding(Code.ENTRY_UNFOUNDED, entry.key, found, aggregate_ids=about)

    def _is_named(self, entry: UniqueEntry) -> bool:
        """Return whether the record that an entry tells of names it."""
        if entry.chunk is None:
            command = self.commands.commands.get(entry.command_id)
            record = command.records.get(entry.record) if command else None
            return command is not None and record is not None and entry in command.entries_of(record)
        chunks = (each for each in self.commands.chunks if (each.command_id, each.chunk) == _chunk_of(entry))
        return any(entry in chunk.entries(entry.record) for chunk in chunks if entry.record in chunk.records)

    def _not_over(self, facts: EntryFacts, following: Place) -> str:
        """Return why the evidence that the place after an entry cites does not show it to be over, or nothing."""
        ended_by = following.ended_by
        if ended_by is None:
            return "no evidence of it"
        slot = SLOT_KEY.fullmatch(ended_by.key)
        if slot is None:
            return self._not_broken(facts.entry, ended_by)
        number, log = int(slot[2]), self.commands.logs.get(slot[1])
        if slot[1] != facts.entry.aggregate_id or number < facts.entry.slot:
            return f"an event cited that says nothing about it, {ended_by.key}"
        if log is None or number not in log.taken:
            return "" if facts.is_late else f"an event cited that is not there, {ended_by.key}"
        return _not_let_go(log, number, facts.entry.value, ended_by)

    def _not_broken(self, entry: UniqueEntry, ended_by: EndedBy) -> str:
        """Return why the entry that is cited does not show that an event can never be, or nothing."""
        own = next((own for place in entry.places if (own := entry.beside(place)).key == ended_by.key), None)
        entries = self.commands.entries
        if own is None or own == entry:
            return f"an object cited that says nothing about it, {ended_by.key}"
        if entries.damage_under(own.key):
            return ""
        if entries.is_own(own) is not False or entries.checksum_under(own.key) != ended_by.checksum:
            return f"an entry cited that is not there, {ended_by.key}"
        return ""

    def _judge_refusal(self, refusal: RefusalFacts) -> Iterator[Finding]:
        log = self.commands.logs.get(refusal.holder)
        is_there = log is not None and refusal.version in log.taken
        held = log.holdings.after(refusal.version) if log is not None and is_there else frozenset()
        if held is not None and refusal.value not in held:
            which = f"version {refusal.version} of {refusal.holder}"
            found = f"rejected as UniqueViolated, but {which} does not hold the {refusal.constraint}"
            yield Finding(Code.REJECTION_UNFOUNDED, refusal.where, found, aggregate_ids=(refusal.holder,))


def held_at_head(log: LogFacts) -> Iterator[HeldValue]:
    """Yield the values that an instance holds at its due head."""
    db_name, class_id, _ = log.aggregate_id.split("/", 2)
    if class_id != CLASSES:
        for value in log.holdings.after(log.head) or ():
            yield f"{db_name}/{class_id}", value.constraint, value.sha256


def doubled(logs: Iterable[LogFacts]) -> Iterator[tuple[HeldValue, str, str]]:
    """Yield the values that two instances hold at their heads, and both instances."""
    holders: dict[HeldValue, str] = {}
    for log in logs:
        for value in held_at_head(log):
            first = holders.setdefault(value, log.aggregate_id)
            if first != log.aggregate_id:
                yield value, first, log.aggregate_id


def doubled_finding(value: HeldValue, first: str, second: str) -> Finding:
    """Return the finding of a value that two instances hold."""
    class_name, constraint, sha256 = value
    where = f"{constraint} {sha256} of {class_name}"
    found = f"expected one holder at most, found {first} and {second}; let one of them give it up"
    return Finding(Code.UNIQUE_DOUBLED, where, found, aggregate_ids=(first, second))


def _not_let_go(log: LogFacts, number: int, value: ValueKey, ended_by: EndedBy) -> str:
    event, held = log.events.get(number), log.holdings.after(number)
    if event is None or held is None:
        return ""  # damage leaves it open
    if event.checksum != ended_by.checksum:
        return f"an event cited by another checksum than it has, {ended_by.key}"
    return f"an event cited after which the value is held, {ended_by.key}" if value in held else ""


def _chunk_of(entry: UniqueEntry) -> tuple[str, int | None]:
    return entry.command_id, entry.chunk


def _refusals_of(commands: CommandAudit) -> Iterator[RefusalFacts]:
    for command in commands.commands.values():
        yield from command.refusals()
    for chunk in commands.chunks:
        yield from chunk.refusals()


def _names_places(command: CommandFacts) -> bool:
    return bool(command.records and command.last.places)

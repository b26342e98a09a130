"""A bulk command's chunk against the slots: each record binds exactly the items that the one before left to retry.

An item's outcome depends on the slots of its own aggregate alone, so a chunk may be judged as a whole, or divided by
aggregate and judged in parts.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from oncelog.domain.bulk.binding import ConflictOutcome, conflict_outcomes, to_retry
from oncelog.domain.bulk.records import Binding, ChunkRecord
from oncelog.domain.identifiers import CLASSES, derive_event_id
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.unique.entry import Place, UniqueEntry
from oncelog.verification.chains import RefusalFacts, refusal_of
from oncelog.verification.entries import StoredEntries
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import LogFacts

#: Stands for the unknown content of a damaged slot.
DAMAGED = "damaged"

#: Says whether a class has any events, of its own or of its instances.
Populated = Callable[[tuple[str, str]], bool]


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """The binding of one item in one record: to a slot of its aggregate, or to a rejection.

    ``places``: in the chains of unique values.
    """

    index: int
    aggregate_id: str
    slot: int | None
    rejection: Rejection | None = None
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class ChunkFacts:
    """One chunk of a bulk command, or the part of it that is about some aggregates.

    ``records``: by number, those without an item here, too. ``contents``: of items bound to a slot, the digests of the
    event that they ask for, without data and with it. ``is_followed``: there are records of a later chunk.
    """

    command_id: str
    command_hash: str
    chunk: int
    is_followed: bool
    records: dict[int, list[ItemFacts]]
    contents: dict[int, tuple[str, str]] = field(default_factory=dict)

    def by_aggregate(self) -> Iterator[tuple[str, "ChunkFacts"]]:
        """Yield each aggregate with the part of the chunk that is about it."""
        divided: defaultdict[str, dict[int, list[ItemFacts]]] = defaultdict(lambda: {n: [] for n in self.records})
        for number, items in self.records.items():
            for item in items:
                divided[item.aggregate_id][number].append(item)
        for aggregate_id, records in divided.items():
            indices = {item.index for items in records.values() for item in items}
            contents = {index: content for index, content in self.contents.items() if index in indices}
            yield aggregate_id, replace(self, records=records, contents=contents)

    @property
    def last_items(self) -> dict[int, ItemFacts]:
        """Each item as the last record has it that binds it."""
        return {item.index: item for number in sorted(self.records) for item in self.records[number]}

    def refusals(self) -> Iterator[RefusalFacts]:
        """Yield the claims of its items' rejections about the holders of unique values."""
        for item in self.last_items.values():
            if refusal := refusal_of(item.rejection, f"item {item.index} of command {self.command_id}"):
                yield refusal

    def record(self, number: int) -> ChunkRecord:
        """Return the record ``number`` as far as it is about these aggregates."""
        bindings = tuple(
            Binding(
                index=item.index,
                aggregate_id=item.aggregate_id,
                slot=item.slot,
                places=item.places or None,
                rejection=item.rejection,
            )
            for item in self.records[number]
        )
        return ChunkRecord(
            command_id=self.command_id,
            command_hash=self.command_hash,
            chunk=self.chunk,
            number=number,
            bindings=bindings,
        )

    def entries(self, number: int) -> list[UniqueEntry]:
        """Return the entries of the places that the record ``number`` names."""
        if not any(item.places for item in self.records[number]):
            return []
        record = self.record(number)
        return [entry for binding in record.bindings for entry in record.entries_of(binding)]


@dataclass
class ChunkAudit:
    """Judges the chunks of all bulk commands; ``bound``: by command, the slots that its items are bound to."""

    logs: Mapping[str, LogFacts]
    populated: Populated
    entries: StoredEntries
    bound: defaultdict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    findings: list[Finding] = field(default_factory=list)

    def judge(self, chunk: ChunkFacts) -> None:
        """Look at one chunk, after the logs of its aggregates."""
        if self._is_open(chunk):
            if chunk.is_followed:
                found = "expected no record of the next chunk: this one had not ended"
                where = f"record 1 of chunk {chunk.chunk + 1} of command {chunk.command_id}"
                self._find(Code.RECORD_UNFOUNDED, where, found, chunk)
            return
        for item in chunk.last_items.values():
            if item.rejection is not None:
                found_wrong = unfounded(item.rejection, self.logs.get(item.aggregate_id), None)
                if found_wrong:
                    where = f"item {item.index} of command {chunk.command_id}"
                    found = f"rejected as {item.rejection.code}, but {found_wrong}"
                    self._find(Code.REJECTION_UNFOUNDED, where, found, chunk)
            elif item.slot is not None:
                self.bound[chunk.command_id].add((item.aggregate_id, item.slot))
                self._judge_content(chunk, item, item.slot)

    def _is_open(self, chunk: ChunkFacts) -> bool:
        """Follow the records, and return whether an item has not come to its end."""
        became: dict[int, ConflictOutcome] = {}
        expected = sorted(item.index for item in chunk.records.get(1, ()))
        for number in sorted(chunk.records):
            items = chunk.records[number]
            if any(self._existing(item.aggregate_id, item.slot) == DAMAGED for item in items if item.slot):
                return False  # the outcome of its items cannot be told
            if any(self.entries.damage_under(entry.key) for entry in chunk.entries(number)):
                return False
            indices = [item.index for item in items]
            if indices != expected:
                where = f"record {number} of chunk {chunk.chunk} of command {chunk.command_id}"
                found = f"expected to bind {in_words(expected)}, found {in_words(indices)}"
                self._find(Code.RECORD_UNFOUNDED, where, found, chunk)
                return False
            if items:
                event_in = self._event_or_refused if self._is_refused_next(chunk, number) else self._existing
                became = conflict_outcomes(chunk.record(number), event_in, self._is_own)
                if ConflictOutcome.OPEN in became.values():
                    break
                expected = to_retry(became)
        is_open = ConflictOutcome.OPEN in became.values()
        if not (is_open or expected):
            return False
        left = [index for index, outcome in became.items() if outcome is not ConflictOutcome.APPLIED]
        about = {item.aggregate_id for item in chunk.last_items.values() if item.index in left}
        found = f"expected events of {len(left)} items of chunk {chunk.chunk}, found none; reconciliation finishes it"
        self.findings.append(
            Finding(
                Code.COMMAND_UNFINISHED,
                f"command {chunk.command_id}",
                found,
                waits_for=(chunk.command_id,),
                aggregate_ids=tuple(sorted(about)),
            )
        )
        return True

    def _judge_content(self, chunk: ChunkFacts, item: ItemFacts, slot: int) -> None:
        """Compare the event with the item's request; of uploaded items with all but their data."""
        log = self.logs.get(item.aggregate_id)
        event = log.events.get(slot) if log else None
        if event is None or event.command_id != chunk.command_id:
            return
        frame, whole = chunk.contents[item.index]
        content = event.content_digest.hex()
        if event.frame_digest.hex() != frame or (whole and content not in (whole, frame)):
            where = f"slot {item.aggregate_id} {slot}"
            found = f"expected what item {item.index} of command {chunk.command_id} asks for, found other content"
            self._find(Code.EVENT_FORGED, where, found, chunk)

    def _is_refused_next(self, chunk: ChunkFacts, number: int) -> bool:
        """Return whether the next record rejects the items for a name collision that can be."""
        following = chunk.records.get(number + 1, ())
        return any(item.rejection and collides(item.rejection, item.aggregate_id, self.populated) for item in following)

    def _event_or_refused(self, aggregate_id: str, slot: int) -> str | None:
        """Return the event in a slot, and an ID of no event where it is free: its items were refused their name."""
        return self._existing(aggregate_id, slot) or ""

    def _is_own(self, entry: UniqueEntry) -> bool | None:
        """Return whether an item's place is its own; a lost one, as its event shows, was its own, too."""
        own = self.entries.is_own(entry)
        if own is None and self._existing(entry.aggregate_id, entry.slot) == _event_id_of(entry):
            return True
        return own

    def _existing(self, aggregate_id: str, slot: int | None) -> str | None:
        """Return the ID of the event in a slot, None if that is free, ``DAMAGED`` if it cannot be read."""
        log = self.logs.get(aggregate_id)
        event = log.events.get(slot or 0) if log else None
        if event is not None:
            return event.event_id
        return DAMAGED if log is not None and slot in log.taken else None

    def _find(self, code: Code, where: str, found: str, chunk: ChunkFacts) -> None:
        about = tuple(sorted({item.aggregate_id for item in chunk.last_items.values()}))
        self.findings.append(Finding(code, where, found, aggregate_ids=about))


def unfounded(rejection: Rejection, log: LogFacts | None, expected_version: int | None) -> str | None:
    """Return why the version that a rejection was decided on does not lead to it, or None.

    ``expected_version``: the command's, None where that is not at hand.
    """
    version = rejection.details.get("found_version")
    if not isinstance(version, int):
        return None
    if version and (log is None or version not in log.taken):
        return f"version {version} never was"
    event = log.events.get(version) if log else None
    if version and event is None:
        return None  # damage leaves it open
    deleted = event is not None and event.event_type.endswith("_DELETED")
    holds: dict[str, bool] = {
        RejectionCode.INSTANCE_EXISTS: version > 0 and not deleted,
        RejectionCode.INSTANCE_NOT_FOUND: version == 0,
        RejectionCode.INSTANCE_DELETED: deleted,
        RejectionCode.VERSION_CONFLICT: expected_version != version,
        RejectionCode.UNIQUE_VIOLATED: refusal_of(rejection, "") is not None,  # its holder is looked at elsewhere
    }
    return None if holds.get(rejection.code, True) else f"version {version} is no reason for that"


def collides(rejection: Rejection, aggregate_id: str, populated: Populated) -> bool:
    """Return whether the rejection is for a name collision, and no event lies under the name that was refused.

    A command that is bound to a slot is refused its name only where another spelling was claimed before.
    """
    existing = rejection.details.get("existing")
    db_name, class_id = class_name_of(aggregate_id)
    refused = f"{db_name}/{class_id}"
    if not isinstance(existing, str) or existing == refused or existing.lower() != refused.lower():
        return False
    return not populated((db_name, class_id))


def class_name_of(aggregate_id: str) -> tuple[str, str]:
    """Return the database and the class that an aggregate belongs to; a class belongs to itself."""
    db_name, class_id, instance_key = aggregate_id.split("/", 2)
    return db_name, instance_key if class_id == CLASSES else class_id


def in_words(indices: Collection[int]) -> str:
    """Return some items in words."""
    if not indices:
        return "no items"
    return f"{len(indices)} items from {min(indices)} to {max(indices)}"


def _event_id_of(entry: UniqueEntry) -> str:
    """Return the ID of the event that an item's entry was written for."""
    return derive_event_id(entry.command_id, entry.item or 0)

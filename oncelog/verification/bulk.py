"""One bulk command against the log: its plan, its chunks' records, the events they bind, the results they tell."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from oncelog.domain.bulk.binding import ConflictOutcome, conflict_outcomes, last_bindings, to_retry
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.items import change_of
from oncelog.domain.bulk.records import Binding, BulkRecord, ChunkRecord, Closed, read_chunk_record
from oncelog.domain.bulk.results import BulkResult, result_line, untouched_line
from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.identifiers import CLASSES
from oncelog.domain.instance import EVENTS
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.stored_names import results_key
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.verification.findings import Code, Finding, InvalidObject
from oncelog.verification.log import LogFacts, content_digest, digest

#: Stands for whatever a damaged slot may have held.
DAMAGED = "damaged"


@dataclass
class BulkCounts:
    """The items' outcomes as the records state them."""

    applied: int = 0
    rejected: int = 0
    not_attempted: int = 0


@dataclass
class BulkAudit:
    """Takes the records of one bulk command's chunks in the order of their keys; holds one chunk of them at a time.

    Besides, it keeps some 200 bytes per item: the slot that it is bound to, and a digest of its line in the results.
    """

    record: BulkRecord
    logs: Mapping[str, LogFacts]
    findings: list[Finding] = field(default_factory=list)
    counts: BulkCounts = field(default_factory=BulkCounts)
    bound: set[tuple[str, int]] = field(default_factory=set)
    closed: Closed | None = None
    finished: bool = False
    _lines: list[bytes] = field(default_factory=list)
    _chunk: int = 0
    _chain: dict[int, ChunkRecord] = field(default_factory=dict)
    _open: bool = False
    _ended: bool = False

    @property
    def command_id(self) -> str:
        return self.record.command_id

    @property
    def rejection(self) -> Rejection | None:
        return self.record.rejection

    def add(self, chunk: int, number: int, body: bytes | None, *, damage: str = "") -> None:
        """Look at one record of a chunk. ``body`` None: it could not be read for the reason in ``damage``."""
        where = self._where(chunk, number)
        if chunk != self._chunk:
            self._end_chunk()
            self._begin_chunk(chunk)
        try:
            self._chain[number] = self._sound(chunk, number, body, damage, where)
        except InvalidObject as error:
            self.findings.append(error.finding)

    def end(self) -> None:
        """Judge the last chunk, and whether there should have been more of them."""
        if self._ended:
            return
        self._ended = True
        self._end_chunk()
        plan = self.record.plan
        if plan is None or self.closed is not None or self._open:
            self.finished = not self._open
            return
        if self._chunk < len(plan.chunks):
            found = f"expected {len(plan.chunks)} chunks, found records of {self._chunk}; the sweep ends it"
            self._unfinished(f"command {self.command_id}", found)
            return
        self.finished = True

    def judge_results(self, summary: bytes | None, results: bytes | None) -> Iterator[Finding]:
        """Compare the results as they lie in S3 with what the records say; None: they could not be read."""
        where = f"results of command {self.command_id}"
        if summary is None or results is None:
            found = "expected results and their summary, found none; the sweep writes them"
            yield Finding(Code.RESULTS_MISSING, where, found, waits_for=(self.command_id,))
            return
        try:
            result = BulkResult.model_validate_json(summary)
            lines = [digest(canonical_bytes(json.loads(line))) for line in results.splitlines()]
        except (ValidationError, ValueError, InputInvalid) as error:
            yield Finding(Code.RESULTS_WRONG, where, f"expected results, found what cannot be read: {error}")
            return
        expected = (self.counts.applied, self.counts.rejected, self.counts.not_attempted)
        counts = (result.counts.applied, result.counts.rejected, result.counts.not_attempted)
        if counts != expected:
            yield Finding(Code.RESULTS_WRONG, where, f"expected {expected} applied, rejected and not, found {counts}")
        if (result.results_sha256, result.results_key) != (sha256_hex(results), results_key(self.command_id)):
            yield Finding(Code.RESULTS_WRONG, where, "expected the bytes that the summary names, found others")
        pairs = zip(lines, self._lines, strict=False)
        wrong = next((index for index, (found, wanted) in enumerate(pairs) if found != wanted), None)
        if wrong is not None or len(lines) != len(self._lines):
            found = "other" if wrong is None else f"other at item {wrong}"
            yield Finding(Code.RESULTS_WRONG, where, f"expected what the records say of each item, found {found}")

    def _begin_chunk(self, chunk: int) -> None:
        plan = self.record.plan
        self._chain.clear()
        if plan is None or self.closed is not None or self._open or chunk > len(plan.chunks):
            found = "expected no record of this chunk: the command had ended before it, or the one before had not"
            self._find(Code.RECORD_UNFOUNDED, self._where(chunk, 1), found)
        elif chunk != self._chunk + 1:
            found = f"expected records of chunk {self._chunk + 1} first, found none"
            self._find(Code.RECORD_MISSING, self._where(self._chunk + 1, 1), found)
        self._chunk = chunk

    def _sound(self, chunk: int, number: int, body: bytes | None, damage: str, where: str) -> ChunkRecord:
        if body is None:
            raise InvalidObject(Code.RECORD_UNREADABLE, where, f"expected a chunk's record, found {damage}")
        try:
            record = read_chunk_record(body, where=where)
        except LogDamaged as error:
            raise InvalidObject(Code.RECORD_UNREADABLE, where, f"{error.message}; restore the first version") from error
        expected = (self.command_id, self.record.command_hash, chunk, number)
        if (record.command_id, record.command_hash, record.chunk, record.number) != expected:
            found = f"expected its own record, found {record.number} of chunk {record.chunk} of {record.command_id}"
            raise InvalidObject(Code.RECORD_FORGED, where, found)
        return record

    def _end_chunk(self) -> None:
        plan = self.record.plan
        if plan is None or not self._chunk or self._chunk > len(plan.chunks):
            return
        items = plan.items_of(self._chunk)
        records = [self._chain[number] for number in sorted(self._chain)]
        if records and records[0].closed is not None:
            self.closed = records[0].closed
            self._untouched(range(items.start, plan.items_count))
            return
        if [record.number for record in records] != list(range(1, len(records) + 1)) or not records:
            self._find(Code.RECORD_MISSING, self._where(self._chunk, 1), "expected records 1 to the last, found gaps")
            return
        self._judge_chain(records, list(items))
        self._keep_ends(records)

    def _judge_chain(self, records: list[ChunkRecord], expected: list[int]) -> None:
        """Hold that each record binds exactly what the one before left displaced and void."""
        became: dict[int, ConflictOutcome] = {}
        for record in records:
            where = self._where(record.chunk, record.number)
            if any(self._standing(b.aggregate_id, b.slot) == DAMAGED for b in record.bindings if b.slot):
                return  # the outcome of its items cannot be told
            if [binding.index for binding in record.bindings] != expected:
                found = f"expected to bind {_named(expected)}, found {_named([b.index for b in record.bindings])}"
                self._find(Code.RECORD_UNFOUNDED, where, found)
                return
            event_in = self._event_or_refused if self._is_refused_next(record) else self._event_in
            became = conflict_outcomes(record, event_in)
            if ConflictOutcome.OPEN in became.values():
                expected = []
                break
            expected = to_retry(became)
        if expected or ConflictOutcome.OPEN in became.values():
            self._open = True
            left = [
                b
                for b in last_bindings(records)
                if became.get(b.index) is not ConflictOutcome.APPLIED and b.aggregate_id
            ]
            found = f"expected events of {len(left)} items of chunk {self._chunk}, found none; the sweep finishes it"
            self._unfinished(f"command {self.command_id}", found, tuple(str(b.aggregate_id) for b in left))

    def _keep_ends(self, records: list[ChunkRecord]) -> None:
        class_schemas = {binding.index: record.definition for record in records for binding in record.bindings}
        for binding in last_bindings(records):
            self._lines.append(digest(canonical_bytes(result_line(self.record, binding))))
            if binding.rejection is not None:
                self.counts.rejected += 1
                self._judge_rejection(binding)
                continue
            assert binding.aggregate_id is not None  # a binding to a slot has one
            assert binding.slot is not None
            self.counts.applied += 1
            self.bound.add((binding.aggregate_id, binding.slot))
            definition = class_schemas[binding.index]
            self._judge_content(binding, definition and definition.model_dump(mode="json"))

    def _judge_content(self, binding: Binding, definition: object) -> None:
        """Compare the event with what the item asks for; of uploaded items with all but their data."""
        log = self.logs.get(str(binding.aggregate_id))
        event = log.events.get(binding.slot or 0) if log else None
        if event is None or event.command_id != self.command_id:
            return
        bulk = self.record.bulk
        fields: dict[str, object] = {
            "event_type": EVENTS[bulk.command_type.of_each][0],
            "aggregate_id": binding.aggregate_id,
            "command_id": self.command_id,
            "data": _data_of(bulk, binding.index),
            "occurred_at": self.record.occurred_at,
            "definition": definition,
            "actor": bulk.actor,
            "correlation_id": bulk.correlation_id,
            "causation_id": bulk.causation_id,
        }
        frame = content_digest(fields, migrated=True)
        whole = content_digest(fields) if bulk.payload.items is not None else event.content_digest
        if event.frame_digest != frame or event.content_digest not in (whole, frame):
            where = f"slot {binding.aggregate_id} {binding.slot}"
            found = f"expected what item {binding.index} of command {self.command_id} asks for, found other content"
            self._find(Code.EVENT_FORGED, where, found)

    def _judge_rejection(self, binding: Binding) -> None:
        rejection = binding.rejection
        assert rejection is not None  # the caller looked
        found = unfounded(rejection, self.logs.get(binding.aggregate_id or ""), None)
        if found:
            where = f"item {binding.index} of command {self.command_id}"
            self._find(Code.REJECTION_UNFOUNDED, where, f"rejected as {rejection.code}, but {found}")

    def _untouched(self, items: range) -> None:
        self.counts.not_attempted += len(items)
        self._lines.extend(digest(canonical_bytes(untouched_line(index))) for index in items)

    def _event_in(self, aggregate_id: str, slot: int) -> str | None:
        return self._standing(aggregate_id, slot)

    def _event_or_refused(self, aggregate_id: str, slot: int) -> str | None:
        """Return the event in a slot, and an ID of no event where it is free: its items were refused their name."""
        return self._standing(aggregate_id, slot) or ""

    def _is_refused_next(self, record: ChunkRecord) -> bool:
        """Return whether the next record rejects the items for a name collision that can be."""
        following = self._chain.get(record.number + 1)
        rejections = [(b.aggregate_id, b.rejection) for b in following.bindings] if following else []
        return any(name and rejection and collides(rejection, name, self.logs) for name, rejection in rejections)

    def _standing(self, aggregate_id: str | None, slot: int | None) -> str | None:
        """Return the ID of the event in a slot, None if that is free, ``DAMAGED`` if it cannot be read."""
        log = self.logs.get(aggregate_id or "")
        event = log.events.get(slot or 0) if log else None
        if event is not None:
            return event.event_id
        return DAMAGED if log is not None and slot in log.taken else None

    def _unfinished(self, where: str, found: str, aggregate_ids: tuple[str, ...] = ()) -> None:
        self.findings.append(
            Finding(Code.COMMAND_UNFINISHED, where, found, waits_for=(self.command_id,), aggregate_ids=aggregate_ids)
        )

    def _find(self, code: Code, where: str, found: str) -> None:
        self.findings.append(Finding(code, where, found))

    def _where(self, chunk: int, number: int) -> str:
        return f"record {number} of chunk {chunk} of command {self.command_id}"


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
    holds = {
        RejectionCode.INSTANCE_EXISTS: version > 0 and not deleted,
        RejectionCode.INSTANCE_NOT_FOUND: version == 0,
        RejectionCode.INSTANCE_DELETED: deleted,
        RejectionCode.VERSION_CONFLICT: expected_version != version,
    }.get(rejection.code, True)
    return None if holds else f"version {version} is no reason for that"


def collides(rejection: Rejection, aggregate_id: str, logs: Mapping[str, LogFacts]) -> bool:
    """Return whether the rejection is for a name collision, and no event lies under the name that was refused.

    A command that is bound to a slot is refused its name only where another spelling was claimed before.
    """
    existing = rejection.details.get("existing")
    db_name, class_id = class_of(aggregate_id)
    refused = f"{db_name}/{class_id}"
    if not isinstance(existing, str) or existing == refused or existing.lower() != refused.lower():
        return False
    return not any(log.events and class_of(name) == (db_name, class_id) for name, log in logs.items())


def class_of(aggregate_id: str) -> tuple[str, str]:
    """Return the database and the class that an aggregate belongs to; a class belongs to itself."""
    db_name, class_id, instance_key = aggregate_id.split("/", 2)
    return db_name, instance_key if class_id == CLASSES else class_id


def _data_of(bulk: Bulk, index: int) -> object:
    """Return an inline item's data; that of uploaded items is not at hand."""
    if bulk.payload.items is None:
        return None
    change = change_of(bulk, index, bulk.payload.items[index], stored=True)
    return None if isinstance(change, Rejection) else change.payload


def _named(indices: list[int]) -> str:
    if not indices:
        return "no items"
    return f"{len(indices)} items from {indices[0]} to {indices[-1]}"

"""One bulk command as its records tell it: its plan, the records of its chunks, and the results that it must have.

Its items are held against the slots elsewhere, aggregate by aggregate (``chunks``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from oncelog.domain.bulk.binding import last_bindings
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.items import change_of
from oncelog.domain.bulk.records import Binding, BulkRecord, ChunkRecord, Closed, read_chunk_record
from oncelog.domain.bulk.results import BulkResult, result_line, untouched_line
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.instance import EVENTS
from oncelog.domain.results import Rejection
from oncelog.domain.stored_names import results_key
from oncelog.errors import LogDamaged
from oncelog.verification.chunks import ChunkFacts, ItemFacts, in_words
from oncelog.verification.findings import Code, Finding, InvalidObject
from oncelog.verification.log import content_digest, digest
from oncelog.verification.results import ResultsCheck

Record = TypeVar("Record")


def readable_record(read: Callable[..., Record], noun: str, body: bytes | None, *, damage: str, where: str) -> Record:
    """Return the record in an object of S3; raises InvalidObject. ``damage``: why there is no body."""
    if body is None:
        raise InvalidObject(Code.RECORD_UNREADABLE, where, f"expected {noun}, found {damage}")
    try:
        return read(body, where=where)
    except LogDamaged as error:
        raise InvalidObject(Code.RECORD_UNREADABLE, where, f"{error.message}; restore the first version") from error


@dataclass
class BulkCounts:
    """The items' outcomes as the records state them."""

    applied: int = 0
    rejected: int = 0
    not_attempted: int = 0


@dataclass
class BulkReader:
    """Takes the records of one bulk command's chunks in the order of their keys; holds one chunk of them at a time.

    Besides, it keeps 16 bytes per item, a digest of its line in the results. ``report``: takes each chunk's facts.
    """

    record: BulkRecord
    report: Callable[[ChunkFacts], None]
    findings: list[Finding] = field(default_factory=list)
    counts: BulkCounts = field(default_factory=BulkCounts)
    closed: Closed | None = None
    finished: bool = False
    _lines: bytearray = field(default_factory=bytearray)
    _chunk: int = 0
    _chain: dict[int, ChunkRecord] = field(default_factory=dict)
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
            self._end_chunk(is_followed=True)
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
        self._end_chunk(is_followed=False)
        plan = self.record.plan
        if plan is not None and self.closed is None and self._chunk < len(plan.chunks):
            found = f"expected {len(plan.chunks)} chunks, found records of {self._chunk}; the sweep ends it"
            where = f"command {self.command_id}"
            self.findings.append(Finding(Code.COMMAND_UNFINISHED, where, found, waits_for=(self.command_id,)))
            return
        self.finished = plan is not None

    def results_check(self) -> ResultsCheck:
        """Return the check of the results that must lie in S3, for they are told by the records."""
        counts = (self.counts.applied, self.counts.rejected, self.counts.not_attempted)
        return ResultsCheck(self.command_id, bytes(self._lines), counts)

    def no_results(self) -> Finding:
        """Return the finding that the command has no results."""
        found = "expected results and their summary, found none; the sweep writes them"
        where = f"results of command {self.command_id}"
        return Finding(Code.RESULTS_MISSING, where, found, waits_for=(self.command_id,))

    def judge_summary(self, summary: bytes, results_sha256: str) -> Iterator[Finding]:
        """Compare the summary of the results with the records, and with the digest of the results."""
        where = f"results of command {self.command_id}"
        try:
            result = BulkResult.model_validate_json(summary)
        except ValidationError as error:
            yield Finding(Code.RESULTS_WRONG, where, f"expected a summary, found what cannot be read: {error}")
            return
        expected = (self.counts.applied, self.counts.rejected, self.counts.not_attempted)
        counts = (result.counts.applied, result.counts.rejected, result.counts.not_attempted)
        if counts != expected:
            yield Finding(Code.RESULTS_WRONG, where, f"expected {expected} applied, rejected and not, found {counts}")
        if (result.results_sha256, result.results_key) != (results_sha256, results_key(self.command_id)):
            yield Finding(Code.RESULTS_WRONG, where, "expected the bytes that the summary names, found others")

    def _begin_chunk(self, chunk: int) -> None:
        plan = self.record.plan
        self._chain.clear()
        if plan is None or self.closed is not None or chunk > len(plan.chunks):
            found = "expected no record of this chunk: the command had ended before it"
            self._find(Code.RECORD_UNFOUNDED, self._where(chunk, 1), found)
        elif chunk != self._chunk + 1:
            found = f"expected records of chunk {self._chunk + 1} first, found none"
            self._find(Code.RECORD_MISSING, self._where(self._chunk + 1, 1), found)
        self._chunk = chunk

    def _sound(self, chunk: int, number: int, body: bytes | None, damage: str, where: str) -> ChunkRecord:
        record = readable_record(read_chunk_record, "a chunk's record", body, damage=damage, where=where)
        expected = (self.command_id, self.record.command_hash, chunk, number)
        if (record.command_id, record.command_hash, record.chunk, record.number) != expected:
            found = f"expected its own record, found {record.number} of chunk {record.chunk} of {record.command_id}"
            raise InvalidObject(Code.RECORD_FORGED, where, found)
        return record

    def _end_chunk(self, *, is_followed: bool) -> None:
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
        bound = [binding.index for binding in records[0].bindings]
        if bound != list(items):
            found = f"expected to bind {in_words(list(items))}, found {in_words(bound)}"
            self._find(Code.RECORD_UNFOUNDED, self._where(self._chunk, 1), found)
        self._keep_ends(records)
        self.report(self._facts(records, is_followed=is_followed))

    def _keep_ends(self, records: Sequence[ChunkRecord]) -> None:
        for binding in last_bindings(records):
            self._lines += digest(canonical_bytes(result_line(self.record, binding)))
            if binding.rejection is not None:
                self.counts.rejected += 1
            else:
                self.counts.applied += 1

    def _facts(self, records: Sequence[ChunkRecord], *, is_followed: bool) -> ChunkFacts:
        definitions = {binding.index: record.definition for record in records for binding in record.bindings}
        contents = {}
        for binding in last_bindings(records):
            if binding.bound_slot is not None:
                definition = definitions[binding.index]
                contents[binding.index] = self._content(binding, definition and definition.model_dump(mode="json"))
        return ChunkFacts(
            command_id=self.command_id,
            command_hash=self.record.command_hash,
            chunk=self._chunk,
            is_followed=is_followed,
            records={
                record.number: [
                    _item_facts(binding, binding.aggregate_id)
                    for binding in record.bindings
                    if binding.aggregate_id is not None
                ]
                for record in records
            },
            contents=contents,
        )

    def _content(self, binding: Binding, definition: object) -> tuple[str, str]:
        """Return the digests of the event that an item asks for, without its data and with it.

        The data of uploaded items is not at hand, so that the second is empty.
        """
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
        frame = content_digest(fields, migrated=True).hex()
        return frame, content_digest(fields).hex() if bulk.payload.items is not None else ""

    def _untouched(self, items: range) -> None:
        self.counts.not_attempted += len(items)
        for index in items:
            self._lines += digest(canonical_bytes(untouched_line(index)))

    def _find(self, code: Code, where: str, found: str) -> None:
        self.findings.append(Finding(code, where, found))

    def _where(self, chunk: int, number: int) -> str:
        return f"record {number} of chunk {chunk} of command {self.command_id}"


def _item_facts(binding: Binding, aggregate_id: str) -> ItemFacts:
    return ItemFacts(binding.index, aggregate_id, binding.slot, binding.rejection, binding.places or ())


def _data_of(bulk: Bulk, index: int) -> object:
    """Return an inline item's data; uploaded items' data is not at hand."""
    if bulk.payload.items is None:
        return None
    change = change_of(bulk, index, bulk.payload.items[index], stored=True)
    return None if isinstance(change, Rejection) else change.payload

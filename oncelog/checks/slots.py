"""The slots of a part, each with its bytes: from the archive where S3 says that the slot has the very same ones.

A listing gives each object's ETag, which is the MD5 of its bytes. An archived row with that MD5 needs no request of its
own. Any other slot is read; where the buckets' ETags are no MD5, that is every slot.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from oncelog.archive.archived_rows import ArchivedRows, Damages
from oncelog.archive.event_table import EVENT, KEY
from oncelog.archive.log_part import LogPart
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.archive import ArchiveFile
from oncelog.domain.stored_names import EVENTS
from oncelog.ports import LargeObjects
from oncelog.stores.s3 import Bucket, ListedObject
from oncelog.verification import reading
from oncelog.verification.findings import Code, Finding
from oncelog.verification.reading import ReadObject

SLOTS_PER_BATCH = 500
REMEDY = "oncelog archive makes it again once its file is removed"


@dataclass
class ArchivedPart:
    """The archived rows of a part, in the order of their keys; their faults are in ``findings``."""

    rows: AsyncIterator[tuple[Sequence[bytes], list[str]]]
    findings: list[Finding] = field(default_factory=list)
    _pending: dict[str, bytes] = field(default_factory=dict)
    _last: str = ""
    _stream: str = ""
    _number: int = 0

    async def through(self, key: str) -> dict[str, bytes]:
        """Return the rows up to a key, and forget them."""
        while self._last < key:
            chunk = await anext(self.rows, None)
            if chunk is None:
                break
            for value, row in zip(*chunk, strict=True):
                self._check_order(row)
                self._pending[row] = value
            self._last = chunk[1][-1]
        taken = {row: value for row, value in self._pending.items() if row <= key}
        self._pending = {row: value for row, value in self._pending.items() if row > key}
        return taken

    async def rest(self) -> dict[str, bytes]:
        """Return all rows that are left."""
        return await self.through("\U0010ffff")

    def _check_order(self, row: str) -> None:
        """Find streams of which an event is missing though a later one is there, or is there twice."""
        stream, _, name = row.rpartition("/")
        number = int(name.removesuffix(".json"))
        expected = self._number + 1 if stream == self._stream else 1
        if number != expected:
            where = f"archive of {stream.removeprefix(EVENTS)}"
            found = f"expected archived event {expected} next, found {number}; run oncelog archive"
            self.findings.append(Finding(Code.ARCHIVE_GAP, where, found))
        self._stream, self._number = stream, number


def archived_part(large_objects: LargeObjects, files: Sequence[ArchiveFile], part: LogPart) -> ArchivedPart:
    """Open the archived rows of a part. A file that cannot be read is passed over: it is judged by itself."""
    folder = f"{EVENTS}{part.db_name}/{part.class_id}/"
    rows = ArchivedRows(
        large_objects,
        files,
        (KEY, EVENT),
        first=folder + part.first,
        end=None if part.end is None else folder + part.end,
        damages=Damages(),
    )
    return ArchivedPart(rows.column(EVENT))


@dataclass(frozen=True)
class SlotBatch:
    """Some slots of a part in the order of their keys. ``archived``: how many of them came from the archive.

    ``forged``: keys of which the archive has other bytes than the slot.
    """

    objects: Sequence[ReadObject]
    archived: int
    forged: Sequence[str]


async def read_slots(bucket: Bucket, part: LogPart, archived: ArchivedPart | None) -> AsyncIterator[SlotBatch]:
    """Yield all objects of a part, some hundred at a time; raises StoreUnavailable."""
    folder = f"{EVENTS}{part.db_name}/{part.class_id}/"
    end = None if part.end is None else folder + part.end
    page: list[ListedObject] = []
    async for listed in reading.listed_objects(bucket, folder, after=(folder + part.first), end=end):
        page.append(listed)
        if len(page) >= SLOTS_PER_BATCH:
            yield await _batch(bucket, page, await archived.through(page[-1].key) if archived else {})
            page = []
    rows = await archived.rest() if archived else {}
    if page or rows:
        yield await _batch(bucket, page, rows)


async def _batch(bucket: Bucket, page: Sequence[ListedObject], rows: dict[str, bytes]) -> SlotBatch:
    same = await asyncio.to_thread(_unchanged, page, rows) if rows else set[str]()
    missing = [listed for listed in page if listed.key not in same]
    read = await bounded_gather(lambda each: _read(bucket, each), missing, at_once=reading.READS_IN_FLIGHT_MAX)
    found = {each.key: each for each in read}
    forged = [key for key, each in found.items() if each.body is not None and key in rows and rows[key] != each.body]
    keys = {listed.key for listed in page}
    forged += [key for key in rows if key not in keys]
    objects = [
        found[listed.key]
        if listed.key in found
        else ReadObject(listed.key, rows[listed.key], written_at=listed.written_at)
        for listed in page
    ]
    return SlotBatch(objects, len(same), forged)


async def _read(bucket: Bucket, listed: ListedObject) -> ReadObject:
    return await reading.read_object(bucket, listed.key, listed.written_at)


def _unchanged(page: Sequence[ListedObject], rows: dict[str, bytes]) -> set[str]:
    return {
        listed.key
        for listed in page
        if listed.key in rows and hashlib.md5(rows[listed.key], usedforsecurity=False).hexdigest() == listed.etag
    }

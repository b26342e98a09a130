"""Packs events from their slots into files, merges files that became many, and removes those that no manifest names.

Every step starts from the newest manifest and ends by publishing the next one, by conditional PUT. Of two archivers one
publishes it; the other has written files that nothing will ever name, and begins its step again. An archiver that dies
leaves the same. So nothing is archived twice, and the next step finds the events that are not archived.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from oncelog.archive.archived_rows import ArchivedRows, Damages, missing_files
from oncelog.archive.comparison import Archived, Missing, Surplus, compared
from oncelog.archive.event_table import CHECKSUM, KEY, all_columns, table_of
from oncelog.archive.log_part import order_key
from oncelog.archive.pack_check import PackCheck
from oncelog.archive.parquet_writer import FileWriter, GroupSizer, regrouped
from oncelog.archive.run import DAMAGES_NAMED_MAX, MergeReport, PackReport
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.archive import ArchiveFile, ArchiveManifest, files_to_merge, next_manifest
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import EVENTS
from oncelog.errors import ArchiveDamaged, LogDamaged, OncelogError, SchemaUnsupported
from oncelog.ports import ListedStream, Ports, StoredEvent

FILE_BYTES = 64 * 1024 * 1024
SLOTS_IN_FLIGHT_MAX = 32
SLOTS_PER_READ = 512
#: Streams that are looked at together, most of them archived already.
PIECES_MAX = 4_096
PART_BYTES = 8 * 1024 * 1024
#: How long one step packs before it publishes its files.
PACK_S = 300.0
#: A file that is no longer named is kept for the readers that began with an earlier manifest.
KEEP_FOR = timedelta(hours=24)


@dataclass
class _Packing:
    """One step under way."""

    base: ArchiveManifest
    lost: set[str]
    check: PackCheck = field(default_factory=PackCheck)
    sizer: GroupSizer = field(default_factory=GroupSizer)
    writer: FileWriter | None = None
    position: str | None = None
    events: int = 0


class Archiver:
    """Archives classes, one step at a time; every step may be repeated, and may run beside others.

    Every method raises StoreUnavailable.
    """

    def __init__(self, ports: Ports, *, file_bytes: int = FILE_BYTES, pack_s: float = PACK_S) -> None:
        self._ports = ports
        self._file_bytes = file_bytes
        self._pack_s = pack_s

    async def pack(
        self, db_name: str, class_id: str, *, first: str | None = None, complete_through: str | None = None
    ) -> PackReport:
        """Archive the new events of a class, from the stream ``first`` on, up to one full file.

        ``complete_through``: when the pass began, by S3's clock (RFC 3339); the manifest says it once the end of the
        class is reached.
        """
        base = (await self._ports.archives.newest_manifest(db_name, class_id)).manifest
        lost = {file.key for file in await missing_files(self._ports.large_objects, base.files)}
        packing = _Packing(base, lost, position=first)
        damages = Damages()
        rows = ArchivedRows(
            self._ports.large_objects,
            [file for file in base.files if file.key not in lost],
            (CHECKSUM, KEY),
            first=f"{EVENTS}{db_name}/{class_id}/{order_key(first) if first else ''}",
            damages=damages,
        )
        is_end = await self._fill(packing, rows, first)
        lost |= damages.by_file.keys()
        kept = [file for file in base.files if file.key not in lost]
        written = await self._end_file(packing)
        is_complete = is_end and not lost and not packing.check.damages
        manifest = next_manifest(base, [*kept, *written], complete_through=complete_through if is_complete else None)
        if not (written or lost or is_complete):
            return self._report(packing, is_end=is_end, files=0)
        if not await self._ports.archives.publish_manifest(manifest):
            return PackReport(position=first, conflict=True)
        return self._report(packing, is_end=is_end, files=len(written))

    def _report(self, packing: _Packing, *, is_end: bool, files: int) -> PackReport:
        return PackReport(
            position=None if is_end else packing.position,
            events=packing.events,
            files=files,
            lost=len(packing.lost),
            damages=tuple(packing.check.damages[:DAMAGES_NAMED_MAX]),
        )

    async def _fill(self, packing: _Packing, rows: ArchivedRows, first: str | None) -> bool:
        """Read missing events until a file is full or the time is up; returns whether the end was reached."""
        until = time.monotonic() + self._pack_s
        base = packing.base
        pending: list[Archived | Missing] = []
        count = 0
        streams = self._streams(base.db_name, base.class_id, first)
        async for found in compared(streams, rows.column(CHECKSUM)):
            if isinstance(found, Surplus):
                packing.check.surplus(found)
                continue
            for piece, slots in _pieces(found):
                pending.append(piece)
                count += slots
                if count >= SLOTS_PER_READ or len(pending) >= PIECES_MAX:
                    await self._add(packing, pending)
                    pending, count = [], 0
                    if self._is_full(packing) or time.monotonic() > until:
                        return False
        await self._add(packing, pending)
        return True

    async def _streams(self, db_name: str, class_id: str, first: str | None) -> AsyncIterator[ListedStream]:
        position: str | None = f"{EVENTS}{db_name}/{class_id}/{order_key(first) if first else ''}"
        while position is not None:
            page = await self._ports.catalogue.listed_streams(after=position, db_name=db_name, class_id=class_id)
            for stream in page.items:
                yield stream
            position = page.position

    async def _add(self, packing: _Packing, pending: Sequence[Archived | Missing]) -> None:
        places = [
            (piece.aggregate_id, number) for piece in pending if isinstance(piece, Missing) for number in piece.numbers
        ]
        read = iter(await bounded_gather(self._slot, places, at_once=SLOTS_IN_FLIGHT_MAX))
        for piece in pending:
            packing.position = piece.aggregate_id.instance_key
            if isinstance(piece, Archived):
                packing.check.archived(piece)
                continue
            for number in piece.numbers:
                stored = packing.check.sound(piece.aggregate_id, number, next(read))
                if stored is not None:
                    packing.events += 1
                    if packing.sizer.add(stored):
                        await asyncio.to_thread(_write_group, packing)

    async def _slot(self, place: tuple[AggregateId, int]) -> StoredEvent | OncelogError | None:
        try:
            return await self._ports.event_log.read_event(*place)
        except (LogDamaged, SchemaUnsupported) as error:
            return error

    def _is_full(self, packing: _Packing) -> bool:
        return packing.writer is not None and packing.writer.size_bytes >= self._file_bytes

    async def _end_file(self, packing: _Packing) -> list[ArchiveFile]:
        if packing.sizer.rows:
            await asyncio.to_thread(_write_group, packing)
        if packing.writer is None:
            return []
        return [await self._upload(packing.writer, packing.base)]

    async def _upload(self, writer: FileWriter, base: ArchiveManifest) -> ArchiveFile:
        key = f"archive/{base.db_name}/{base.class_id}/files/{base.number + 1:020d}/{uuid.uuid4()}.parquet"
        file, body = await asyncio.to_thread(writer.end, key)
        await self._ports.large_objects.write_object(key, _parts(body))
        return file

    async def merge(self, db_name: str, class_id: str) -> MergeReport:
        """Merge files where too many overlap or too many are small, if there are any."""
        base = (await self._ports.archives.newest_manifest(db_name, class_id)).manifest
        chosen = files_to_merge(base.files, full_bytes=self._file_bytes)
        if not chosen:
            return MergeReport()
        damages = Damages()
        merged = [file async for file in self._merged(base, chosen, damages)]
        lost = damages.by_file.keys()
        gone = {file.key for file in chosen}
        if lost:  # the sound files stay; events of lost ones are archived again by the next pass
            merged, gone = [], set(lost)
        files = [*(file for file in base.files if file.key not in gone), *merged]
        if not await self._ports.archives.publish_manifest(next_manifest(base, files)):
            return MergeReport(conflict=True)
        events = sum(file.events for file in merged)
        return MergeReport(files_before=len(chosen), files_after=len(merged), events=events, lost=len(lost))

    async def _merged(
        self, base: ArchiveManifest, chosen: Sequence[ArchiveFile], damages: Damages
    ) -> AsyncIterator[ArchiveFile]:
        rows = ArchivedRows(self._ports.large_objects, chosen, all_columns(), damages=damages)
        writer = None
        async for group in regrouped(rows.chunks()):
            writer = writer or FileWriter()
            await asyncio.to_thread(writer.add, group)
            if writer.size_bytes >= self._file_bytes:
                yield await self._upload(writer, base)
                writer = None
        if writer is not None and not damages.by_file:
            yield await self._upload(writer, base)

    async def collect(self, db_name: str, class_id: str, *, keep_for: timedelta = KEEP_FOR) -> int:
        """Remove the files that no manifest has named for ``keep_for``, and return how many those were.

        A file of an archiver at work is never removed: its number is above that of the newest manifest. A file can
        never be named any more once a manifest that does not name it has taken its number.
        """
        newest = await self._ports.archives.newest_manifest(db_name, class_id)
        if newest.damage:
            return 0
        since = await self._ports.checkpoints.now() - keep_for
        named = {file.key for file in newest.manifest.files}
        try:
            async for manifest in self._ports.archives.recent_manifests(db_name, class_id, since=since):
                named.update(file.key for file in manifest.files)
        except ArchiveDamaged:
            return 0  # which files it named is not known: they are kept until it is no longer recent
        removed = 0
        async for file in self._ports.archives.archive_files(db_name, class_id):
            if file.number <= newest.manifest.number and file.key not in named:
                await self._ports.archives.remove_file(file)
                removed += 1
        return removed


def _pieces(found: Archived | Missing) -> Iterator[tuple[Archived | Missing, int]]:
    """Cut a range longer than one read into pieces; with the number of slots to read of each."""
    if isinstance(found, Archived):
        yield found, 0
        return
    for start in range(found.numbers.start, found.numbers.stop, SLOTS_PER_READ):
        numbers = range(start, min(found.numbers.stop, start + SLOTS_PER_READ))
        yield Missing(found.aggregate_id, numbers), len(numbers)


def _write_group(packing: _Packing) -> None:
    packing.writer = packing.writer or FileWriter()
    packing.writer.add(table_of(packing.sizer.taken()))


async def _parts(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), PART_BYTES):
        yield body[at : at + PART_BYTES]

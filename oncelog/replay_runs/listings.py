"""The listing that a replay's plan is made of, kept in the files of its run, so that its partitions list nothing again.

Later events may be missing from a replay; a rebuild has them from the index that live writes go to.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from oncelog.archive.listing import KeptListing
from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.ports import ListedStream
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.replay_runs.partitions import Partition

#: Partitions with listings that are written side by side.
WRITTEN_AT_ONCE = 8

_log = structlog.get_logger()


class _ListingFile(BaseModel):
    """The listing of one partition. ``streams``: the aggregate ID, its head, and when that was written, of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Partition
    manifest_checksum: str
    streams: tuple[tuple[str, int, datetime], ...]


class ListingFiles:
    """``ListingKeeper`` in the files of a run: one file per partition.

    Memory: the streams of ``WRITTEN_AT_ONCE`` partitions.
    """

    def __init__(self, files: ReplayFiles, reader: LogReader) -> None:
        self._files = files
        self._reader = reader
        self._manifest_checksum = ""
        self._streams: list[ListedStream] = []
        self._partitions: list[tuple[Partition, Sequence[ListedStream]]] = []

    async def begin_class(self, part: LogPart) -> None:
        """Take note of the archive before the class is listed; raises StoreUnavailable."""
        self._manifest_checksum = await self._reader.manifest_checksum(part)

    def add(self, stream: ListedStream) -> None:
        """Take note of one more stream."""
        self._streams.append(stream)

    async def end_partition(self, partition: Partition) -> None:
        """Write the listings of some partitions once there are enough of them; raises StoreUnavailable."""
        self._partitions.append((partition, self._streams))
        self._streams = []
        if len(self._partitions) == WRITTEN_AT_ONCE:
            await self._write_all()

    async def end_class(self) -> None:
        """Write the rest; raises StoreUnavailable."""
        self._streams = []
        await self._write_all()

    async def _write_all(self) -> None:
        await bounded_gather(self._write, self._partitions, at_once=WRITTEN_AT_ONCE)
        self._partitions = []

    async def _write(self, listing: tuple[Partition, Sequence[ListedStream]]) -> None:
        partition, streams = listing
        file = _ListingFile(
            partition=partition,
            manifest_checksum=self._manifest_checksum,
            streams=tuple((str(each.aggregate_id), each.head, each.written_at) for each in streams),
        )
        await self._files.write(_name(partition.number), file.model_dump_json().encode())


async def read_listing(files: ReplayFiles, partition: Partition) -> KeptListing | None:
    """Return the listing of a partition; None where there is no readable one of just this partition.

    Other attempts at the plan may have divided the log otherwise. Raises StoreUnavailable.
    """
    file_name = _name(partition.number)
    try:
        data = await files.read(file_name)
        listing = None if data is None else _ListingFile.model_validate_json(data)
    except (LogDamaged, ValidationError) as error:  # derived: without it, the partition lists its part
        _log.warning("listing_unreadable", key=files.folder + file_name, reason=str(error))
        return None
    if listing is None or listing.partition != partition:
        return None
    streams = [ListedStream(AggregateId.parse(aggregate_id), head, at) for aggregate_id, head, at in listing.streams]
    return KeptListing(listing.manifest_checksum, streams)


def _name(number: int) -> str:
    return partition_name(number, "listed", "json")

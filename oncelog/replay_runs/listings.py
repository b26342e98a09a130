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

_log = structlog.get_logger()


class _ListingFile(BaseModel):
    """The listing of one partition. ``streams``: the aggregate ID, its head, and when that was written, of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Partition
    manifest_checksum: str
    streams: tuple[tuple[str, int, datetime], ...]


class ListingFiles:
    """``ListingKeeper`` in the files of a run: one file per partition."""

    def __init__(self, files: ReplayFiles, reader: LogReader) -> None:
        self._files = files
        self._reader = reader
        self._manifest_checksum = ""

    async def begin_class(self, part: LogPart) -> None:
        """Take note of the archive before the class is listed; raises StoreUnavailable."""
        self._manifest_checksum = await self._reader.manifest_checksum(part)

    async def keep(self, listings: Sequence[tuple[Partition, Sequence[ListedStream]]]) -> None:
        """Write the streams of some partitions; raises StoreUnavailable."""
        await bounded_gather(self._write, listings, at_once=max(1, len(listings)))

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
    name = _name(partition.number)
    try:
        data = await files.read(name)
        listing = None if data is None else _ListingFile.model_validate_json(data)
    except (LogDamaged, ValidationError) as error:  # derived: without it, the partition lists its part
        _log.warning("listing_unreadable", key=files.folder + name, reason=str(error))
        return None
    if listing is None or listing.partition != partition:
        return None
    streams = [ListedStream(AggregateId.parse(name), head, at) for name, head, at in listing.streams]
    return KeptListing(listing.manifest_checksum, streams)


def _name(number: int) -> str:
    return partition_name(number, "listed", "json")

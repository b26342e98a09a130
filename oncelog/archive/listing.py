"""The streams of a part of the log, as S3 lists them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from oncelog.archive.log_part import LogPart, order_key
from oncelog.domain.stored_names import EVENTS
from oncelog.ports import ListedStream, LogCatalogue, Page


@dataclass(frozen=True)
class KeptListing:
    """The streams of a part as they were listed once.

    ``manifest_checksum``: of the newest manifest of the class before that; empty where there was none.
    """

    manifest_checksum: str
    streams: Sequence[ListedStream]

    async def streams_from(self, first: str) -> AsyncIterator[ListedStream]:
        """Yield the streams from the name ``first`` on."""
        for stream in self.streams:
            if order_key(stream.aggregate_id.instance_key) >= first:
                yield stream


async def listed_streams(
    catalogue: LogCatalogue, part: LogPart, *, first: str | None = None
) -> AsyncIterator[ListedStream]:
    """Yield the streams of a part from the name ``first`` on, as S3 lists them; raises StoreUnavailable.

    ``first`` None: from the beginning of the part. The next page is asked for while one is gone through.
    """

    def ask(after: str) -> asyncio.Task[Page[ListedStream]]:
        asking = catalogue.listed_streams(after=after, db_name=part.db_name, class_id=part.class_id)
        return asyncio.ensure_future(asking)

    end = None if part.end is None else f"{EVENTS}{part.db_name}/{part.class_id}/{part.end}"
    asked = ask(f"{EVENTS}{part.db_name}/{part.class_id}/{part.first if first is None else first}")
    try:
        while True:
            page = await asked
            is_last = page.position is None or (end is not None and page.position >= end)
            if page.position is not None and not is_last:
                asked = ask(page.position)
            for stream in page.items:
                if part.end is not None and order_key(stream.aggregate_id.instance_key) >= part.end:
                    return
                yield stream
            if is_last:
                return
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

"""After the slot is written: publish what is not published, and project. Only forward, each step repeatable."""

import asyncio
from collections.abc import Awaitable

from factline.domain.identifiers import AggregateId
from factline.errors import FactlineError
from factline.pipeline.log_reader import LogReader, StateCache
from factline.pipeline.publication import Publication
from factline.projections.documents import document_of
from factline.projections.gathering import GatheredDocuments


class Deliverer:
    """Delivers a committed event to the stream and to the documents."""

    def __init__(
        self, *, publication: Publication, documents: GatheredDocuments, reader: LogReader, cache: StateCache
    ) -> None:
        self._publication = publication
        self._documents = documents
        self._reader = reader
        self._cache = cache

    async def publish(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Make sure that the event and all before it are published; returns what was done, in words."""
        return await self._publication.ensure(aggregate_id, sequence_number)

    async def project(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Write the document at the sequence number or beyond it; returns what was done, in words."""
        state = self._cache.get(aggregate_id)
        if state is None or state.sequence_number < sequence_number:
            state = await self._reader.at(aggregate_id, sequence_number)
        await self._documents.write_one(document_of(state))
        return f"document at version {state.sequence_number}"


async def attempted(step: Awaitable[object], *, timeout_s: float) -> str | None:
    """Await one quick attempt; return None, or why it did not succeed."""
    try:
        async with asyncio.timeout(timeout_s):
            await step
    except FactlineError as error:
        return f"{error.code}: {error.message}"
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    return None

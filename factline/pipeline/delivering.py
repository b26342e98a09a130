"""After the slot is written: publish what is not published, and project. Only forward, each step repeatable."""

import asyncio
from collections.abc import Awaitable

from factline.domain.identifiers import CLASSES, AggregateId
from factline.errors import FactlineError, ProjectionParked
from factline.pipeline.log_reader import LogReader, StateCache
from factline.pipeline.publication import Publication
from factline.pipeline.trace import Trace
from factline.projections.documents import document_of
from factline.projections.gathering import GatheredDocuments
from factline.projections.parking import Parking, parked_error


class Deliverer:
    """Delivers a committed event to the stream and to the documents.

    ``inline``: whether documents of instances are written here; else the projector writes them from the stream.
    Those of classes always are.
    """

    def __init__(
        self,
        *,
        publication: Publication,
        documents: GatheredDocuments,
        reader: LogReader,
        cache: StateCache,
        parking: Parking,
        inline: bool = True,
    ) -> None:
        self._inline = inline
        self._parking = parking
        self._publication = publication
        self._documents = documents
        self._reader = reader
        self._cache = cache

    def projects(self, aggregate_id: AggregateId) -> bool:
        """Return whether it is for us to write the aggregate's document."""
        return self._inline or aggregate_id.class_id == CLASSES

    async def publish(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Make sure that the event and all before it are published; returns what was done, in words."""
        return await self._publication.ensure(aggregate_id, sequence_number)

    async def project(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Write the document at the sequence number or beyond it; returns what was done, in words.

        Raises StoreUnavailable, which is worth repeating; after any other error of ours, ``park``.
        """
        await self._parking.refuse_if_waiting(aggregate_id)
        state = self._cache.get(aggregate_id)
        if state is None or state.sequence_number < sequence_number:
            state = await self._reader.at(aggregate_id, sequence_number)
        await self._documents.write_one(document_of(state))
        return f"document at version {state.sequence_number}"

    async def project_or_park(self, aggregate_id: AggregateId, sequence_number: int, trace: Trace) -> bool:
        """Project, or park what can never be projected: the fact stands, and its command need not wait for a person.

        Returns whether it is projected. Raises StoreUnavailable.
        """
        place = aggregate_id, sequence_number
        try:
            await trace.step("project", self.project(*place), note=str)
        except FactlineError as error:
            if error.retryable:
                raise
            await trace.step("park", self.park(*place, error), note=str)
            return False
        return True

    async def park(self, aggregate_id: AggregateId, sequence_number: int, error: FactlineError) -> str:
        """Let the aggregate's projection wait for a person, so that its commands need not; returns why, in words."""
        if isinstance(error, ProjectionParked):
            return error.message
        letter = await self._parking.park(aggregate_id, sequence_number=sequence_number, error=error)
        return parked_error(letter).message


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

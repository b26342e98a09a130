"""Many small writes of documents become few large ones, without making anybody wait for the sake of it.

While a batch is under way, what arrives gathers; as soon as a flight is free, all of it goes together. So a single
write leaves at once, and under load the batches grow by themselves.
"""

import asyncio
import json
from dataclasses import dataclass, field

from factline.domain.identifiers import AggregateId
from factline.errors import StoreUnavailable
from factline.ports import Document, Documents


@dataclass(eq=False)
class _Waiting:
    """One caller's document, and where it waits for the outcome."""

    document: Document
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def sequence_number(self) -> int:
        return self.document.sequence_number


class GatheredDocuments:
    """Writes single documents through shared batches; belongs to one event loop.

    Of several waiting documents of one aggregate only the newest is sent, since it carries what the others do.
    ``documents_max`` and ``bytes_max`` (of JSON, about) bound a batch, ``flights_max`` how many are under way at once.
    """

    def __init__(
        self, documents: Documents, *, documents_max: int = 500, bytes_max: int = 5_000_000, flights_max: int = 2
    ) -> None:
        self._documents = documents
        self._documents_max = documents_max
        self._bytes_max = bytes_max
        self._flights_max = flights_max
        self._waiting: dict[AggregateId, list[_Waiting]] = {}  # in order of arrival
        self._flights: set[asyncio.Task[None]] = set()
        self._closed = False

    async def write_one(self, document: Document) -> None:
        """Write the document unless a newer one is there.

        Raises what ``Documents.write`` says of it: StoreUnavailable, InputInvalid; RuntimeError after ``close``.
        """
        if self._closed:
            raise RuntimeError("these documents are closed: open others to write on")
        waiting = _Waiting(document)
        self._enqueue(waiting)
        await waiting.outcome

    async def close(self) -> None:
        """Take no more documents, and return when all that wait have their outcome."""
        self._closed = True
        while self._flights:
            await asyncio.wait(self._flights)

    def _enqueue(self, waiting: _Waiting) -> None:
        self._waiting.setdefault(waiting.document.aggregate_id, []).append(waiting)
        if len(self._flights) < self._flights_max:
            flight = asyncio.create_task(self._fly())  # begins after what is ready now has been enqueued, too
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        while batch := self._take_batch():
            try:
                await self._write(batch)
            except BaseException:  # nobody waits for ever, even if this task is cancelled
                for waiting in (waiting for group in batch for waiting in group):
                    waiting.outcome.cancel()
                raise

    def _take_batch(self) -> list[list[_Waiting]]:
        """Take what waits longest, as much as a batch may hold: per aggregate its callers, the newest document last."""
        batch: list[list[_Waiting]] = []
        size_bytes = 0
        while self._waiting and len(batch) < self._documents_max:
            aggregate_id, arrived = next(iter(self._waiting.items()))
            group = sorted((one for one in arrived if not one.outcome.done()), key=lambda one: one.sequence_number)
            if group:
                size_bytes += len(json.dumps(group[-1].document.body, ensure_ascii=False))
                if batch and size_bytes > self._bytes_max:
                    break
                batch.append(group)
            del self._waiting[aggregate_id]
        return batch

    async def _write(self, batch: list[list[_Waiting]]) -> None:
        try:
            outcomes = await self._documents.write([group[-1].document for group in batch])
        except Exception as error:  # noqa: BLE001 - a defect of the store reaches every caller that it concerns
            outcomes = [error] * len(batch)
        for group, outcome in zip(batch, outcomes, strict=True):
            self._settle(group, outcome)

    def _settle(self, group: list[_Waiting], outcome: Exception | None) -> None:
        newest = group[-1].sequence_number
        for waiting in group:
            if waiting.outcome.done():
                continue
            if outcome is None:
                waiting.outcome.set_result(None)
            elif waiting.sequence_number == newest or isinstance(outcome, StoreUnavailable):
                waiting.outcome.set_exception(outcome)
            else:  # the newest can never be written, which says nothing about the one before
                self._enqueue(waiting)

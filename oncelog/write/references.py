"""Whether the targets of references exist, as S3 itself shows it (docs/ontology.md, references that must exist)."""

import asyncio
from collections.abc import Iterable

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.references import reference_not_found, references_brought_in
from oncelog.domain.results import Rejection
from oncelog.replay.stream_reader import StreamReader

#: Targets of one command that are looked at side by side.
TARGETS_IN_FLIGHT_MAX = 16


class References:
    """Looks for the targets of references; writes nothing."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    async def refusal(self, before: Instance, after: Instance, class_schema: ClassSchema | None) -> Rejection | None:
        """Return why the event between two states cannot be; no request is sent if it brings no reference in.

        Raises StoreUnavailable, LogDamaged.
        """
        references = references_brought_in(before, after, class_schema)
        if not references:
            return None
        return reference_not_found(before, references, await self.absences(each.target for each in references))

    async def absences(
        self, targets: Iterable[AggregateId], *, at_once: int | asyncio.Semaphore = TARGETS_IN_FLIGHT_MAX
    ) -> dict[AggregateId, int | None]:
        """Return which targets do not exist, each looked at once. ``at_once``: see ``bounded_gather``.

        Raises StoreUnavailable, LogDamaged.
        """
        distinct = list(dict.fromkeys(targets))
        found = await bounded_gather(self._absence, distinct, at_once=at_once)
        return dict(zip(distinct, found, strict=True))

    async def _absence(self, target: AggregateId) -> int | None:
        """Return the version of a target's deletion, 0 if it never was, None if it exists.

        Slots never change: a head that this process knows is the head still if S3 shows the slot after it to be empty.
        """
        head: Instance | None = None
        async for state in self._reader.onward(target, start=1):
            head = state
        if head is None:
            return 0
        return head.sequence_number if head.deleted else None

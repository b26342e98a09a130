"""Bulk commands as a caller has them: submit items, see how far they are, pause, cancel, read each outcome.

::

    async with Oncelog.connect() as oncelog:
        result = await Bulks(oncelog).submit(BulkType.BULK_CREATE_INSTANCES, "shop", "Product", Path("items.ndjson"))
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from oncelog.activities.bulk_models import BulkStage, BulkView
from oncelog.bulk.items import BulkItems
from oncelog.client.bulk_items import (
    PART_BYTES,
    CheckedItems,
    Progressed,
    check_items,
    command_on,
    parse_type,
    parts_of,
    spooled,
    unobserved,
)
from oncelog.client.bulk_workflow import find_workflow
from oncelog.client.client import Oncelog, new_command_id
from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.bulk.records import BulkRecord
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import CHUNK_ITEMS_MAX
from oncelog.domain.results import Outcome
from oncelog.domain.tokens import highest, make_token
from oncelog.errors import CommandUnknown, InputInvalid, LogDamaged, NotYetVisible
from oncelog.workflows.bulk import BulkCommand

PROGRESS_EVERY_S = 1.0
VISIBLE_AT_ONCE = 500
VISIBLE_DEADLINE_S = 60.0


class Bulks:
    """The bulk commands of one installation."""

    def __init__(self, oncelog: Oncelog) -> None:
        self._oncelog = oncelog
        self._objects = oncelog.ports.large_objects

    async def submit(
        self,
        command_type: BulkType,
        db_name: str,
        class_id: str,
        items: Path | Iterable[Mapping[str, Any]],
        *,
        command_id: str | None = None,
        actor: str | None = None,
        **more: Any,
    ) -> BulkResult:
        """Apply the items (a file of NDJSON, or values) and wait until every one has come to its end.

        Nothing is uploaded unless all items are valid. The same command ID with the same items gives the first result.
        Raises InputInvalid, StoreUnavailable, StoreUnsafe, CommandFailed.
        """
        fields = {"command_id": command_id or new_command_id(), "actor": actor, **more}
        fields |= {"command_type": command_type, "db_name": db_name, "class_id": class_id}
        if isinstance(items, Path):
            bulk = await self.prepared(items, fields)
        else:
            with spooled(items) as path:
                bulk = await self.prepared(path, fields)
        return await self.result_of(bulk)

    async def prepared(self, path: Path, fields: Mapping[str, Any]) -> Bulk:
        """Return the command on the items of a file, which are checked, and uploaded unless they are few."""
        command_type = parse_type(fields["command_type"])
        checked = await asyncio.to_thread(check_items, path, command_type)
        bulk = command_on(checked, fields)
        await self.upload(bulk, checked)
        return bulk

    async def upload(self, bulk: Bulk, items: CheckedItems, *, progressed: Progressed = unobserved) -> None:
        """Put the items where the command says that they lie, unless they travel with it or lie there already.

        Raises StoreUnavailable.
        """
        reference = bulk.payload.reference
        if reference is None or await self._objects.object_size(reference.key) == items.size_bytes:
            progressed(items.size_bytes)
            return
        await self._objects.write_object(reference.key, parts_of(items.path, progressed))

    async def result_of(self, bulk: Bulk) -> BulkResult:
        """Start the command, or attach to it, and wait for its end; its items must have been uploaded."""
        result = await self._oncelog.submit(bulk)
        assert isinstance(result, BulkResult)  # this answers a bulk command, whichever kind of command has used the ID
        return result

    async def follow(self, bulk: Bulk) -> AsyncIterator[BulkView | BulkResult]:
        """Start the command, or attach to it, and yield how far it is, about once a second, and at last its result."""
        ended = asyncio.create_task(self.result_of(bulk))
        async for seen in self._follow(bulk.command_id, ended):
            yield seen

    async def attach(self, command_id: str) -> AsyncIterator[BulkView | BulkResult]:
        """Yield how far a command is that was started before, and at last its result.

        Raises CommandUnknown, CommandFailed, InputInvalid where it is no bulk command.
        """

        async def result() -> BulkResult:
            found = await self._oncelog.result(command_id)
            if not isinstance(found, BulkResult):
                raise InputInvalid(f"command {command_id}: expected a bulk command, found one on {found.aggregate_id}")
            return found

        async for seen in self._follow(command_id, asyncio.create_task(result())):
            yield seen

    async def progress(self, command_id: str) -> BulkView:
        """Return how far a command is; raises CommandUnknown, StoreUnavailable, InputInvalid where it is no bulk one.

        Without a worker, the view comes from its result, or from its memo and its last activity's report.
        """
        return await (await find_workflow(self._oncelog, command_id)).view()

    async def pause(self, command_id: str) -> None:
        """Let the command stop before its next chunk; raises as ``progress`` does."""
        await (await find_workflow(self._oncelog, command_id)).signal("pausing", BulkCommand.pause)

    async def resume(self, command_id: str) -> None:
        """Let a paused command go on; raises as ``progress`` does."""
        await (await find_workflow(self._oncelog, command_id)).signal("resuming", BulkCommand.resume)

    async def cancel(self, command_id: str) -> None:
        """Let the command end before its next chunk; its result reports the items done. Raises as ``progress`` does."""
        await (await find_workflow(self._oncelog, command_id)).cancel()

    async def results(self, result: BulkResult) -> AsyncIterator[dict[str, Any]]:
        """Yield the outcome of each item, in their order; raises LogDamaged, StoreUnavailable."""
        async for line in self.result_lines(result):
            yield json.loads(line)

    async def result_lines(self, result: BulkResult) -> AsyncIterator[bytes]:
        """Yield the same as lines of NDJSON without their ends."""
        if result.results_key is None:
            return
        size = await self._objects.object_size(result.results_key) or 0
        begun = b""
        for start in range(0, size, PART_BYTES):
            block = await self._objects.read_object(result.results_key, range(start, min(start + PART_BYTES, size)))
            *lines, begun = (begun + block).split(b"\n")
            for line in lines:
                yield line

    async def items(self, result: BulkResult, outcomes: Collection[str]) -> AsyncIterator[bytes]:
        """Yield the items that ended so, in their order, as they were given: lines of NDJSON without their ends.

        To submit them once more, mended, as another command. ``outcomes``: APPLIED, REJECTED, NOT_ATTEMPTED. Raises
        LogDamaged, StoreUnavailable.
        """
        if result.results_key is None or result.command_id is None:
            return
        record = await self._oncelog.ports.records.read_record(result.command_id, 1)
        if not isinstance(record, BulkRecord):
            raise LogDamaged(f"command {result.command_id}: expected the record of a bulk command, found none")
        items = BulkItems(self._objects, chunk_items_max=CHUNK_ITEMS_MAX)
        chunk, of_chunk = 0, dict[int, Any]()
        async for line in self.results(result):
            if line["outcome"] not in outcomes:
                continue
            while line["index"] not in of_chunk:
                chunk += 1
                if line["index"] in record.accepted_plan.items_of(chunk):
                    of_chunk = await items.of_chunk(record, chunk)
            item = of_chunk[line["index"]]
            yield item if isinstance(item, bytes) else canonical_bytes(item)

    def token(self, lines: Iterable[Mapping[str, Any]]) -> str:
        """Return a consistency token for some of the results, of which those applied count.

        Raises InputInvalid where none was applied, or for more than a token may name (some hundred).
        """
        applied = (line for line in lines if line["outcome"] == Outcome.APPLIED)
        sequences = highest((line["aggregate_id"], line["sequence_number"]) for line in applied)
        if not sequences:
            raise InputInvalid("results: expected at least one item that was applied, found none; read without a token")
        return make_token(sequences, installation=self._oncelog.ports.installation)

    async def until_visible(
        self,
        result: BulkResult,
        *,
        deadline_s: float = VISIBLE_DEADLINE_S,
        shown: Callable[[int], None] = unobserved,
    ) -> int:
        """Return once documents, searches and graph show all that the command applied; returns how many items.

        Goes through the results, which says exactly that for any number of them: a million take a minute or so.
        ``shown``: called with how many items are shown so far. Raises NotYetVisible after ``deadline_s`` in all, which
        says how far it is, ProjectionParked for the first item that will not be shown, LogDamaged, StoreUnavailable.
        """
        until_s = time.monotonic() + deadline_s
        done = 0
        async for applied in self._applied(result):
            try:
                left_s = max(0.0, until_s - time.monotonic())
                await self._oncelog.reader.until_visible(highest(applied), deadline_s=left_s)
            except NotYetVisible as error:
                message = f"command {result.command_id}: {done} of {result.counts.applied} items applied are shown"
                raise type(error)(f"{message}; {error.message}", **error.details, shown=done) from error
            done += len(applied)
            shown(done)
        return done

    async def _applied(self, result: BulkResult) -> AsyncIterator[list[tuple[AggregateId, int]]]:
        """Yield the aggregates of the applied items with their versions, some at a time."""
        found: list[tuple[AggregateId, int]] = []
        async for line in self.results(result):
            if line["outcome"] == Outcome.APPLIED:
                found.append((AggregateId.parse(line["aggregate_id"]), line["sequence_number"]))
            if len(found) == VISIBLE_AT_ONCE:
                yield found
                found = []
        if found:
            yield found

    async def _follow(self, command_id: str, ended: asyncio.Task[BulkResult]) -> AsyncIterator[BulkView | BulkResult]:
        try:
            while not (await asyncio.wait([ended], timeout=PROGRESS_EVERY_S))[0]:
                try:
                    yield await self.progress(command_id)
                except CommandUnknown:
                    continue  # it is just being started
            yield await ended
        finally:
            ended.cancel()


__all__ = ["BulkResult", "BulkStage", "BulkType", "BulkView", "Bulks", "CheckedItems", "check_items", "spooled"]

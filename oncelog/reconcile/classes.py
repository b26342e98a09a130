"""Classes with documents under another schema than that of their newest definition or of this release, because their
commands no longer run.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.ports import ListedStream, RunningWorkflows
from oncelog.read_models.reindex import Reindexer
from oncelog.reconcile.scope import Scope, incomplete, reconcile_each
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader


class RunningDefinitions:
    """Asks about the workflows of definitions; only to save work, as everywhere in reconciliation."""

    def __init__(self, *, class_schemas: ClassSchemas, reader: StreamReader, running: RunningWorkflows) -> None:
        self._class_schemas = class_schemas
        self._reader = reader
        self._running = running

    async def is_running(self, class_name: AggregateId) -> bool:
        """Return whether the command of the class's newest definition has not come to its end."""
        try:
            class_schema = await self._class_schemas.newest_of(class_name)
            if class_schema is None:
                return False
            defined = await self._reader.required(class_name, class_schema.reference.sequence_number)
        except (LogDamaged, SchemaUnsupported):
            return False  # the class itself is reported; here it holds up no other class
        return await self._running.is_running(defined.event.command_id)


class ClassReconciler:
    """Brings the documents of classes into another index, as the command would have that defined them.

    Beside one that still lives both fill the same index, and one of them moves the alias. Without this reconciler a
    class would be stuck if its old index was closed for the last documents when its command's workflow was terminated.
    """

    def __init__(self, *, reindexer: Reindexer, running_definitions: RunningDefinitions) -> None:
        self._reindexer = reindexer
        self._running_definitions = running_definitions

    async def page(self, classes: Sequence[ListedStream], scope: Scope) -> ReconcileSummary:
        """Reconcile these classes; raises StoreUnavailable if a server kept it from every one of them."""
        within = [listed_stream for listed_stream in classes if scope.covers(listed_stream.aggregate_id)]
        return await reconcile_each(within, partial(self._class, scope), place=_place)

    async def of_instances(self, listed_streams: Sequence[ListedStream], scope: Scope) -> ReconcileSummary:
        """Reconcile the classes of these instances, of which those that are not defined have no events of their own.

        An index of an earlier release cannot answer filters. Raises as ``page`` does.
        """
        classes: dict[AggregateId, ListedStream] = {}
        for listed_stream in listed_streams:
            of = listed_stream.aggregate_id
            if of.class_id != CLASSES:
                name = of.class_name
                classes.setdefault(name, replace(listed_stream, aggregate_id=name, head=0, missing=None))
        return await reconcile_each(list(classes.values()), partial(self._of_instances, scope), place=_place)

    async def _of_instances(self, scope: Scope, listed_stream: ListedStream) -> ReconcileSummary:
        if await self._reindexer.answers_filters(listed_stream.aggregate_id):
            return ReconcileSummary()
        return await self._class(scope, listed_stream)

    async def _class(self, scope: Scope, listed_stream: ListedStream) -> ReconcileSummary:
        found = await self._reindexer.stale_reason(listed_stream.aggregate_id, at_least=listed_stream.head)
        if found is None:
            return ReconcileSummary()
        if scope.is_recent(listed_stream.written_at):
            return ReconcileSummary(recent=1)
        if await self._running_definitions.is_running(listed_stream.aggregate_id):
            return ReconcileSummary(running=1)
        summary = incomplete(_place(listed_stream), found)
        if not scope.repair:
            return summary
        await self._reindexer.run(listed_stream.aggregate_id, at_least=listed_stream.head)
        return summary + ReconcileSummary(reindexed=1)


def _place(listed_stream: ListedStream) -> str:
    return f"class {listed_stream.aggregate_id.db_name}/{listed_stream.aggregate_id.instance_key}"

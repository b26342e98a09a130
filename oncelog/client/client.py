"""The client of an application: submit commands, look up their status, read instances and their history."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any, Self

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from oncelog import tracing
from oncelog.bounded_gather import bounded_gather
from oncelog.client import connection
from oncelog.client.cover import ClassCover, CoverReport
from oncelog.client.start_options import class_command, new_command_id, run_of, start_options
from oncelog.client.status import StatusLookup, handle_of
from oncelog.client.submission import Submission, own_or_refused, persisted, recorded_or_failed, submission_span
from oncelog.composition.client import assemble_read_path
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId, aggregate_id_of, check_command_id
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_of
from oncelog.domain.results import CommandResult
from oncelog.errors import CommandFailed, StoreUnavailable, StoreUnsafe
from oncelog.ports import CommandStatus, Document, Ports
from oncelog.query.reader import DEADLINE_S
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.workflows.command import InstanceCommand

EVENTS_PER_READ = 64
DESCRIBED_AT_A_TIME = 16

__all__ = [
    "Command",
    "CommandResult",
    "CommandStatus",
    "CommandType",
    "Event",
    "Oncelog",
    "Submission",
    "class_command",
    "new_command_id",
]


class Oncelog:
    """One client of an installation. It reaches for a server only when a call needs it.

    ``reader`` answers all other questions: search, the graph, instances as they were.

    ``temporal``: a connected client of the caller's own; else the standard Temporal environment says where it is.
    """

    def __init__(self, ports: Ports, settings: Settings, *, temporal: Client | None = None) -> None:
        self._ports = ports
        self._settings = settings
        self._temporal = temporal
        self._connecting = asyncio.Lock()
        path = assemble_read_path(ports, settings)
        self.reader = path.reader
        self._command_outcomes = path.command_outcomes
        self._stream_reader = path.stream_reader
        self._reindexer = path.reindexer
        self._status_lookup = StatusLookup(
            statuses=ports.statuses, command_outcomes=self._command_outcomes, temporal=self.temporal
        )

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None, *, temporal: Client | None = None) -> AsyncIterator[Self]:
        """Open a client for the length of a block; raises SettingsInvalid."""
        settings = settings or Settings.from_environment()
        tracing.start("oncelog-client")
        async with await Stores.connect(settings) as stores:
            yield cls(stores.ports, settings, temporal=temporal)

    @property
    def ports(self) -> Ports:
        """The ports that this client reads and writes through."""
        return self._ports

    async def submit(self, command: Command | Bulk, *, early: bool = False) -> CommandResult:
        """Run the command and return its result; a command ID that was used before gives its first result.

        A bulk command gives a ``BulkResult``; ``oncelog.client.bulk`` has the further calls for one.

        ``early``: return as soon as the event is persisted, before it is published and projected. A caller that stops
        waiting changes nothing: submit the same command again, or ask for its result. Raises StoreUnavailable,
        StoreUnsafe, CommandFailed.
        """
        return (await self.submission(command, early=early)).result

    async def submission(self, command: Command | Bulk, *, early: bool = False) -> Submission:
        """Do as ``submit`` does, and say besides whether the command had come to its end before."""
        with submission_span(command):
            return await self._submission(command, early=early)

    async def _submission(self, command: Command | Bulk, *, early: bool) -> Submission:
        duplicate = False
        try:
            if early and isinstance(command, Command):  # a bulk command has no one event to wait for
                result = await persisted(await self.temporal(), command, task_queue=self._settings.task_queue)
            else:
                result = await (await self.start(command)).result()
        except WorkflowAlreadyStartedError:
            duplicate, result = True, await self.result(command.command_id)
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.INVALID_ARGUMENT:
                message = (
                    f"Temporal refused to start the command: {error.message}; has a worker run there yet? The first"
                )
                raise StoreUnsafe(f"{message} one adds the search attributes that commands need") from error
            raise self.unavailable("submitting", error) from error
        except (WorkflowFailureError, WorkflowUpdateFailedError) as error:
            result = await recorded_or_failed(self._command_outcomes, command.command_id, error)
        return Submission(await own_or_refused(self._command_outcomes, command, result), duplicate)

    async def class_hint(self, db_name: str, class_id: str) -> str | None:
        """Return a hint where the class is not defined and its database defines others, else None.

        The hint names the nearest defined class. Raises StoreUnavailable.
        """
        defined = await self.reader.defined_classes(db_name)
        if not defined or class_id in defined:
            return None
        near = get_close_matches(class_id, defined, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"defined are {', '.join(defined[:5])}"
        return f"class {db_name}/{class_id} is not defined, and database {db_name} defines {len(defined)}: {remedy}"

    async def define_class(
        self,
        db_name: str,
        class_id: str,
        definition: dict[str, Any],
        *,
        command_id: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
    ) -> CommandResult:
        """Define a class, or define it anew: ``{"version", "schema", "relationships"?, "migration"?}``.

        Returns as ``submit`` does, once the class's documents are found under its new definition.
        """
        fields: dict[str, Any] = {"payload": definition, "expected_version": expected_version, "actor": actor}
        return await self.submit(class_command(CommandType.DEFINE_CLASS, db_name, class_id, command_id, **fields))

    async def ensure_class(
        self, db_name: str, class_id: str, definition: dict[str, Any], *, command_id: str | None = None, **fields: Any
    ) -> CommandResult | None:
        """Define a class as ``define_class`` does, unless it is defined just so; return None if it is.

        For services that bring their classes at start. The newest definition is read from the log, and compared in
        canonical form; one of a retired class is no reason to leave it out. Two that start at once may both submit:
        the later one's result is then REJECTED with SchemaIncompatible, and says that it is the same definition.
        """
        class_schema = await self.class_schema(db_name, class_id)
        if class_schema and not class_schema.retired and class_schema.definition.says(definition):
            return None
        return await self.define_class(db_name, class_id, definition, command_id=command_id, **fields)

    async def retire_class(
        self,
        db_name: str,
        class_id: str,
        *,
        command_id: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
    ) -> CommandResult:
        """Retire a class: none of its instances can be created or changed any more. Returns as ``submit`` does."""
        fields: dict[str, Any] = {"expected_version": expected_version, "actor": actor}
        return await self.submit(class_command(CommandType.RETIRE_CLASS, db_name, class_id, command_id, **fields))

    async def cover_class(self, db_name: str, class_id: str, **options: Any) -> CoverReport:
        """Bring instances under unique constraints that are newer than they; ``options``: see ``ClassCover.run``."""
        from oncelog.client.bulk import Bulks  # which imports this module

        cover = ClassCover(self._ports, self.reader.coverage, Bulks(self), self.under_way)
        return await cover.run(db_name, class_id, **options)

    async def start(self, command: Command | Bulk) -> WorkflowHandle[InstanceCommand, CommandResult]:
        """Start the command, or attach to it, and return its workflow's handle without waiting for the result.

        Raises WorkflowAlreadyStartedError if it came to its end before, and RPCError.
        """
        temporal = await self.temporal()
        return await temporal.start_workflow(
            run_of(command),
            command,
            **start_options(command, task_queue=self._settings.task_queue),
            request_eager_start=True,  # saves a round trip where the caller's connection has a worker, too
        )

    async def result(self, command_id: str) -> CommandResult:
        """Wait for a command's end and return its result.

        Asks Temporal first, then the records in S3, which know it for ever. Raises CommandUnknown, StoreUnavailable,
        CommandFailed.
        """
        check_command_id(command_id)
        temporal = await self.temporal()
        try:
            return await handle_of(temporal, command_id).result()
        except WorkflowFailureError as error:
            return await recorded_or_failed(self._command_outcomes, command_id, error)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise self.unavailable("waiting for a result", error) from error
        status = await self.status(command_id)
        if status.result is None:
            raise CommandFailed(
                f"command {command_id}: there is no result to wait for: {status.remark or status.stage}",
                command_id=command_id,
            )
        return status.result

    async def status(self, command_id: str) -> CommandStatus:
        """Return how far a command has come, from the moment of its acceptance on, for ever: see ``StatusLookup``.

        Raises CommandUnknown, StoreUnavailable.
        """
        return await self._status_lookup.status(command_id)

    async def get(
        self, aggregate_id: AggregateId | str, *, token: str | None = None, deadline_s: float = DEADLINE_S
    ) -> Document | None:
        """Return an instance's document, tombstones included, or None if there is none.

        ``token``: a consistency token; the answer is at or beyond the version it names. Raises NotYetVisible after
        ``deadline_s``, ProjectionParked as soon as that is why, TokenInvalid, StoreUnavailable.
        """
        return await self.reader.get(aggregate_id, token=token, deadline_s=deadline_s)

    async def history(self, aggregate_id: AggregateId | str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the aggregate's events from the log, those above ``after``; raises LogDamaged, StoreUnavailable."""
        aggregate_id = aggregate_id_of(aggregate_id)
        head = await self._ports.event_log.last_sequence_number(aggregate_id, after=after)
        for start in range(after + 1, head + 1, EVENTS_PER_READ):
            numbers = range(start, min(start + EVENTS_PER_READ, head + 1))
            for event in await self._stream_reader.events(aggregate_id, numbers):
                yield event

    async def under_way(self, command_ids: Iterable[str]) -> set[str]:
        """Return the IDs of the commands with a workflow that runs now; raises StoreUnavailable."""
        workflows = connection.TemporalWorkflows(await self.temporal())
        asked = list(command_ids)
        found = await bounded_gather(workflows.is_running, asked, at_once=DESCRIBED_AT_A_TIME)
        return {command_id for command_id, runs in zip(asked, found, strict=True) if runs}

    async def class_schema(self, db_name: str, class_id: str) -> ClassSchema | None:
        """Return a class as it is defined now, retired or not, from the log; None where it never was.

        Raises InputInvalid for an invalid name, LogDamaged, StoreUnavailable.
        """
        return class_schema_of([event async for event in self.history(AggregateId.of_class(db_name, class_id))])

    async def reindex_class(self, db_name: str, class_id: str) -> str:
        """Migrate the class's documents to its newest definition; returns a description of the work done.

        A command that defines does this itself; this is for a class with a lost index, or with a command terminated
        before that. Raises InputInvalid for an invalid name, StoreUnavailable, and may be repeated.
        """
        return await self._reindexer.run(AggregateId.of_class(db_name, class_id))

    async def worker_seen(self) -> bool:
        """Return whether a worker has asked for commands in the last minutes; raises StoreUnavailable."""
        temporal = await self.temporal()
        try:
            return await connection.has_workers(temporal, self._settings.task_queue)
        except RPCError as error:
            raise self.unavailable("asking for workers", error) from error

    async def temporal(self) -> Client:
        """Return the client of Temporal, connected; raises SettingsInvalid, StoreUnavailable."""
        async with self._connecting:
            if self._temporal is None:
                self._temporal = await connection.connect()
            return self._temporal

    def unavailable(self, doing: str, error: Exception) -> StoreUnavailable:
        """Return the error for a Temporal that gave no usable answer."""
        address = self._temporal.service_client.config.target_host if self._temporal else "?"
        return connection.unavailable(address, doing, error)

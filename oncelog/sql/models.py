"""A ``SqlReadModel`` as the projector drives it: of events, or of states."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self

from sqlalchemy import Connection, bindparam, delete, insert

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import HandlerFailed, OncelogError
from oncelog.ports import Changes, Ports, ProjectionStatus
from oncelog.read_models.changes import ChangedEvents, events_at_hand
from oncelog.read_models.document import document_of
from oncelog.sql.changes import Change, ChangeBuffer, check_change
from oncelog.sql.database import Database, PositionsMovedError, move_positions, read_positions
from oncelog.sql.read_model import AGGREGATE_ID, SqlReadModel

#: Aggregates with a position that a process remembers.
REMEMBERED_MAX = 100_000

#: By aggregate: the number from which and to which it moves.
Moved = dict[str, tuple[int, int]]


class SqlModel:
    """The common part: a database, and the position of each aggregate in it."""

    def __init__(self, definition: SqlReadModel) -> None:
        self.name = definition.name
        self._definition = definition
        self._database = Database(definition.url, read_model=definition.name)

    async def prepare(self) -> None:
        """Make the tables that are missing; raises StoreUnavailable."""
        await self._database.prepare(self._definition.tables)

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    def covers(self, aggregate_id: AggregateId) -> bool:
        """Return whether the read model has to do with the aggregate."""
        return self._definition.scope.covers(aggregate_id)

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the number at which each aggregate is projected, 0 where it is not; raises StoreUnavailable."""
        names = [str(each) for each in aggregate_ids]
        numbers = await self._positions(names)
        return [numbers[name] for name in names]

    async def _positions(self, names: Sequence[str]) -> dict[str, int]:
        return await self._database.run(partial(read_positions, read_model=self.name, aggregate_ids=names))


class SqlEventModel(SqlModel):
    """The ``EventReadModel``: events become changes of rows, in the transaction of their positions."""

    def __init__(self, definition: SqlReadModel, ports: Ports) -> None:
        super().__init__(definition)
        self._events = ChangedEvents(
            self.name, log=ports.event_log, snapshots=ports.snapshots, dead_letters=ports.dead_letters
        )
        self._expected: dict[str, int] = {}  # where this process left aggregates
        self._expects_new = False  # whether the last positions that were read for first events were all 0

    async def project_events(self, changes: Sequence[Changes]) -> Sequence[Exception | None]:
        """Apply all in one transaction; raises the failure of one of several aggregates, so that each is tried alone.

        Of one aggregate alone, the events before the failing one are applied.
        """
        covers = self._definition.scope.covers_class
        covered = [each for each in changes if covers(*each.aggregate_id.split("/", 2)[:2])]
        while covered:
            try:
                failure = await self._apply(covered, await self._expected_positions(covered), alone=len(changes) == 1)
            except PositionsMovedError:
                self._expects_new = False
                for each in covered:
                    self._expected.pop(each.aggregate_id, None)
                continue
            return [failure] if len(changes) == 1 else [None] * len(changes)
        return [None] * len(changes)

    async def _expected_positions(self, changes: Sequence[Changes]) -> dict[str, int]:
        """Return where each aggregate should be: as this process left it, or 0 if its first event has just come.

        The others are read. ``move_positions`` notices one that is elsewhere.
        """
        positions: dict[str, int] = {}
        to_read: dict[str, bool] = {}
        for each in changes:
            expected = self._expected.get(each.aggregate_id)
            if expected is None and not (self._expects_new and each.first == 1):
                to_read[each.aggregate_id] = each.first == 1
            positions[each.aggregate_id] = expected or 0
        if to_read:
            positions |= await self._positions(list(to_read))
            if any(to_read.values()):
                self._expects_new = not any(positions[name] for name, is_first in to_read.items() if is_first)
        return positions

    async def _apply(self, changes: Sequence[Changes], reached: dict[str, int], *, alone: bool) -> OncelogError | None:
        buffer, moved = ChangeBuffer(), Moved()
        failure: OncelogError | None = None
        for each in changes:
            name = each.aggregate_id
            old = reached[name]
            try:
                at_hand = events_at_hand(each, old + 1)
                if at_hand is None:
                    at_hand = []
                    async for event in self._events.events(each, old + 1):
                        await self._change(buffer, event)
                        reached[name] = event.sequence_number
                for event in at_hand:
                    await self._change(buffer, event)
                    reached[name] = event.sequence_number
            except OncelogError as error:
                if not alone or error.retryable:
                    raise
                failure = error
            if reached[name] > old:
                moved[name] = (moved.get(name, (old, 0))[0], reached[name])
        if moved:
            await self._database.run(partial(_make, name=self.name, moved=moved, buffer=buffer))
            self._remember(moved)
        return failure

    async def _change(self, buffer: ChangeBuffer, event: Event) -> None:
        """Take an event's changes, none of one that an operator skipped; raises HandlerFailed."""
        if not self._definition.scope.has_type(event):
            return
        try:
            found = self._changes_of(event)
        except Exception as error:  # noqa: BLE001 - the application's own: raised unless an operator skipped the event
            await self._events.check_skipped(event, error)
            return
        for change in found:
            buffer.add(change)

    def _remember(self, moved: Moved) -> None:
        if len(self._expected) > REMEMBERED_MAX:
            self._expected.clear()
        for name, (_, new) in moved.items():
            self._expected[name] = new

    def _changes_of(self, event: Event) -> list[Change]:
        """Return the event's changes, each of which fits its table; raises the errors of the application's function."""
        found = list(self._definition.changes(event)) if self._definition.changes else []
        for change in found:
            check_change(change)
        return found


def _make(connection: Connection, *, name: str, moved: Moved, buffer: ChangeBuffer) -> None:
    move_positions(connection, name, moved)
    buffer.execute(connection)


class SqlStateModel(SqlModel):
    """The ``ReadModel``: each aggregate's rows are replaced by those of its document."""

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write all in one transaction; raises the failure of one of several, so that each is tried alone."""
        newest: dict[str, Instance] = {}
        for state in states:
            known = newest.get(state.aggregate_id)
            if self.covers(AggregateId.parse(state.aggregate_id)) and (
                known is None or known.sequence_number < state.sequence_number
            ):
                newest[state.aggregate_id] = state
        while newest:
            known_numbers = await self._positions(list(newest))
            moved = {
                name: (known_numbers[name], state.sequence_number)
                for name, state in newest.items()
                if known_numbers[name] < state.sequence_number
            }
            rows = [row for name in moved for row in self._rows_of(newest[name])]
            try:
                await self._database.run(partial(self._replace, moved=moved, rows=rows))
            except PositionsMovedError:
                continue
            break
        return [None] * len(states)

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the same as ``projected_versions``: no row is made under an earlier definition."""
        return [ProjectionStatus(number) for number in await self.projected_versions(aggregate_ids)]

    def _rows_of(self, state: Instance) -> list[dict[str, Any]]:
        try:
            found: Iterable[Mapping[str, Any]] = (
                self._definition.rows(document_of(state)) if self._definition.rows else ()
            )
            return [{**row, AGGREGATE_ID: state.aggregate_id} for row in found]
        except Exception as error:
            raise HandlerFailed(self.name, state.aggregate_id, state.sequence_number, error) from error

    def _replace(self, connection: Connection, *, moved: Moved, rows: Sequence[dict[str, Any]]) -> None:
        (table,) = self._definition.tables
        move_positions(connection, self.name, moved)
        if moved:
            gone = delete(table).where(table.c[AGGREGATE_ID] == bindparam("gone"))
            connection.execute(gone, [{"gone": name} for name in sorted(moved)])
        if rows:
            connection.execute(insert(table), list(rows))


class SqlPositions(SqlModel):
    """A read model in SQL as a program reads it: it says how far each aggregate is projected, and changes nothing.

    An asynchronous context manager, which closes its connections.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

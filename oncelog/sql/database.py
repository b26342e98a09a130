"""One SQL database as a read model uses it: a connection in a thread, and the position of each aggregate."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from oncelog.domain.limits import NAME_CHARACTERS_MAX
from oncelog.errors import InputInvalid, StoreUnavailable, StoreUnsafe, redacted

DIALECTS = ("postgresql", "sqlite")
#: States of PostgreSQL after which the very same transaction may succeed: serialization failure, deadlock, shutdown,
#: too many connections, lock not available, read-only standby.
_AGAIN = ("40001", "40P01", "57P01", "57P02", "57P03", "53300", "55P03", "25006")
READ_AT_ONCE_MAX = 500

Result = TypeVar("Result")

metadata = MetaData()
#: The position of each aggregate in each read model: it changes in the transaction of the rows.
positions = Table(
    "oncelog_positions",
    metadata,
    Column("read_model", String(NAME_CHARACTERS_MAX), primary_key=True),
    Column("aggregate_id", String, primary_key=True),
    Column("sequence_number", BigInteger, nullable=False),
    sqlite_with_rowid=False,  # one tree instead of two
)
#: SQL of both dialects, but for the mark of a parameter: SQLAlchemy would take as long for a row as the database does.
_BEGIN_POSITIONS = (
    "INSERT INTO oncelog_positions (read_model, aggregate_id, sequence_number) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
)
_CONTINUE_POSITIONS = (
    "UPDATE oncelog_positions SET sequence_number = ? WHERE read_model = ? AND aggregate_id = ? AND sequence_number = ?"
)


class PositionsMovedError(Exception):
    """Another projector moved an aggregate on meanwhile: the transaction is undone, and all is read anew."""


class Database:
    """Runs transactions, one at a time, in a thread. ``url``: as SQLAlchemy has it; PostgreSQL or SQLite.

    Raises InputInvalid for another database, or one without its driver.
    """

    def __init__(self, url: str, *, read_model: str) -> None:
        self._read_model = read_model
        try:
            self._engine = create_engine(url, pool_pre_ping=True)
        except (SQLAlchemyError, ImportError) as error:
            raise InputInvalid(f"read model {read_model}: database {redacted(url)}: {error}") from error
        if self._engine.dialect.name not in DIALECTS:
            raise InputInvalid(
                f"read model {read_model}: expected a database of {' or '.join(DIALECTS)}, found "
                f"{self._engine.dialect.name}; implement oncelog.EventReadModel for it"
            )
        if self._engine.dialect.name == "sqlite":
            _begin_immediately(self._engine)
        self.name = f"{self._engine.dialect.name} at {self._engine.url.host or self._engine.url.database or 'memory'}"
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Run the work in one transaction; raises StoreUnavailable, and DBAPIError if refused for good."""

        def transact() -> Result:
            with self._engine.begin() as connection:
                return work(connection)

        async with self._turn:
            try:
                return await asyncio.to_thread(transact)
            except DBAPIError as error:
                if _is_passing(error):
                    cause = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
                    raise StoreUnavailable(self.name, f"projecting {self._read_model}", cause) from error
                raise

    async def prepare(self, tables: Sequence[Table]) -> None:
        """Make the missing tables; existing ones stay as they are."""

        def make(connection: Connection) -> None:
            present = set(inspect(connection).get_table_names())
            for table in (positions, *tables):
                if table.schema or table.name not in present:
                    table.create(connection, checkfirst=True)

        await self.run(make)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._engine.dispose)


def read_positions(connection: Connection, read_model: str, aggregate_ids: Sequence[str]) -> dict[str, int]:
    """Return the position of each aggregate, 0 where it has none."""
    numbers = dict.fromkeys(aggregate_ids, 0)
    asked = list(numbers)
    for start in range(0, len(asked), READ_AT_ONCE_MAX):
        rows = connection.execute(
            select(positions.c.aggregate_id, positions.c.sequence_number).where(
                positions.c.read_model == read_model,
                positions.c.aggregate_id.in_(asked[start : start + READ_AT_ONCE_MAX]),
            )
        )
        numbers |= {row.aggregate_id: row.sequence_number for row in rows}
    return numbers


def move_positions(connection: Connection, read_model: str, moved: Mapping[str, tuple[int, int]]) -> None:
    """Move each aggregate from one number to another; raises PositionsMovedError if one is no longer where it was.

    This comes before all changes: it takes the locks on which two projectors of one aggregate meet. Inserts come before
    updates and wait for inserts only, each in the order of their aggregates, so that projectors do not deadlock.
    """
    ordered = sorted(moved.items())
    begun = [(read_model, name, new) for name, (old, new) in ordered if old == 0]
    continued = [(new, read_model, name, old) for name, (old, new) in ordered if old != 0]
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    for statement, rows in ((_BEGIN_POSITIONS, begun), (_CONTINUE_POSITIONS, continued)):
        if rows and _rows_changed(connection, statement.replace("?", mark), rows, read_model) != len(rows):
            raise PositionsMovedError(read_model)


def _rows_changed(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]], read_model: str) -> int:
    """Run a statement for each row by the driver itself, and count the rows that it changed."""
    done = connection.exec_driver_sql(statement, list(rows), execution_options={"preserve_rowcount": True}).rowcount
    if done < 0:
        raise StoreUnsafe(
            f"read model {read_model}: driver {connection.dialect.driver} counts no rows of many statements, so that "
            "two projectors could count an event twice; use psycopg (postgresql+psycopg://…)"
        )
    return done


def _begin_immediately(engine: Engine) -> None:
    """Let each transaction take SQLite's lock at once: a transaction that reads, then writes, may be undone."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.execute(text("BEGIN IMMEDIATE"))


def _is_passing(error: DBAPIError) -> bool:
    """Return whether the same transaction may succeed later, without a person."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or state in _AGAIN or (state or "").startswith("08"):
        return True
    words = str(error.orig)
    is_sqlite_busy = "database is locked" in words or "database is busy" in words
    return is_sqlite_busy or (state is None and type(error).__name__ == "OperationalError" and "connect" in words)

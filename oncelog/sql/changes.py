"""Changes of rows, and the statements that make many of them at once.

Changes of one row that follow each other become one: additions are summed, and a later value replaces an earlier one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Delete, Table, and_, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert

from oncelog.errors import InputInvalid

#: Row keys by their columns, in the order of the table's primary key.
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Add:
    """Add numbers to columns of one row, which begins with 0. ``key``: all columns of the primary key."""

    table: Table
    key: Mapping[str, Any]
    values: Mapping[str, float]


@dataclass(frozen=True)
class Put:
    """Set columns of one row, which is inserted if it is missing. ``key``: all columns of the primary key."""

    table: Table
    key: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Remove:
    """Delete one row, if it is there. ``key``: all columns of the primary key."""

    table: Table
    key: Mapping[str, Any]


Change: TypeAlias = Add | Put | Remove


@dataclass
class _Run:
    """Changes of one kind and one set of columns in a table, one of each row."""

    kind: type[Change]
    columns: tuple[str, ...]
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict)


class ChangeBuffer:
    """Gathers the changes of many events, and makes them with as few statements as their order permits."""

    def __init__(self) -> None:
        self._runs: dict[Table, list[_Run]] = {}

    def add(self, change: Change) -> None:
        """Take one change, which ``check_change`` has found to fit its table."""
        columns = () if isinstance(change, Remove) else tuple(change.values)
        key = tuple(change.key[name] for name in _columns_of(change.table).ordered_keys)
        runs = self._runs.setdefault(change.table, [])
        if not runs or runs[-1].kind is not type(change) or runs[-1].columns != columns:
            runs.append(_Run(type(change), columns))
        row = runs[-1].rows.setdefault(key, dict(change.key))
        if isinstance(change, Add):
            for name, number in change.values.items():
                row[name] = row.get(name, 0) + number
        elif isinstance(change, Put):
            row.update(change.values)

    def execute(self, connection: Connection) -> None:
        """Make all changes; tables and rows in one order, so that concurrent projectors wait and do not deadlock."""
        for table, runs in sorted(self._runs.items(), key=lambda item: item[0].fullname):
            for run in runs:
                rows = [run.rows[key] for key in sorted(run.rows, key=repr)]
                statement = deletion(table) if run.kind is Remove else upsert(connection, table, run.columns, run.kind)
                connection.execute(statement, rows if run.kind is not Remove else [_bound(row) for row in rows])


class _Columns(NamedTuple):
    """Names of a table's columns. ``ordered_keys``: of the primary key, in its order."""

    ordered_keys: tuple[str, ...]
    keys: frozenset[str]
    others: frozenset[str]


@lru_cache(maxsize=1_000)
def _columns_of(table: Table) -> _Columns:
    ordered_keys = tuple(column.name for column in table.primary_key)
    others = frozenset(column.name for column in table.columns).difference(ordered_keys)
    return _Columns(ordered_keys, frozenset(ordered_keys), others)


def check_change(change: Change) -> None:
    """Raise InputInvalid unless the change names the whole primary key, and other columns of its table."""
    columns = _columns_of(change.table)
    if change.key.keys() != columns.keys or not columns.keys:
        raise InputInvalid(
            f"table {change.table.fullname}: expected a key of the primary key's columns {list(columns.ordered_keys)}, "
            f"found {sorted(change.key)}"
        )
    if not isinstance(change, Remove) and (unknown := sorted(change.values.keys() - columns.others)):
        raise InputInvalid(f"table {change.table.fullname}: expected values of other columns of it, found {unknown}")


def upsert(connection: Connection, table: Table, columns: Iterable[str], kind: type[Change]) -> Insert:
    """Return the statement that inserts rows, or adds to or sets these columns where they are."""
    statement = insert_into(connection, table)
    keys = [column.name for column in table.primary_key]
    new: dict[str, ColumnElement[Any]] = {name: statement.excluded[name] for name in columns}
    if not new:
        return statement.on_conflict_do_nothing(index_elements=keys)
    if kind is Add:
        new = {name: table.c[name] + value for name, value in new.items()}
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return an INSERT of the connection's dialect, to which ON CONFLICT can be added: both dialects write it alike."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)  # type: ignore[return-value]


def deletion(table: Table) -> Delete:
    """Return the statement that deletes rows by their primary key; its parameters are those of ``_bound``."""
    return delete(table).where(and_(*(column == bindparam(f"key_{column.name}") for column in table.primary_key)))


def _bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"key_{name}": value for name, value in row.items()}

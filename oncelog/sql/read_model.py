"""Read models in SQL as their authors write them: tables, and a pure function of events or documents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from oncelog.domain.events import Event
from oncelog.domain.identifiers import check_name
from oncelog.errors import InputInvalid
from oncelog.ports import Document
from oncelog.read_models.names import ReadModelName
from oncelog.read_models.scope import EventScope
from oncelog.sql.changes import Change

AGGREGATE_ID = "aggregate_id"


class SqlReadModel:
    """Tables that one projector group keeps up to date, in PostgreSQL or SQLite.

    Give one of two functions, which has to be pure:

    ``changes``: from an event to changes of rows (``Add``, ``Put``, ``Remove``) in any of ``tables``. For rows that
    several aggregates share, such as orders per customer and month.

    ``rows``: from an aggregate's ``Document`` to its rows in the only table, without the column ``aggregate_id``, which
    the table must have. The rows of an aggregate are replaced as a whole; a deleted one has a tombstone, with
    ``deleted`` set in ``body``.

    ``name``: in consumer groups, dead letters and metrics; a letter, then up to 62 of A-Z a-z 0-9 _ -. ``url``: as
    SQLAlchemy has it, such as ``postgresql+psycopg://…`` or ``sqlite:///shop.sqlite``. ``classes``, ``event_types``: as
    for ``oncelog.subscribe``. Raises InputInvalid.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        tables: Sequence[Table],
        changes: Callable[[Event], Iterable[Change]] | None = None,
        rows: Callable[[Document], Iterable[Mapping[str, Any]]] | None = None,
        classes: Iterable[str] = (),
        event_types: Iterable[str] = (),
    ) -> None:
        if check_name(name, "read model: name") in list(ReadModelName):
            raise InputInvalid(f"read model: expected a name that is none of Oncelog's own, found {name!r}")
        if (changes is None) == (rows is None):
            raise InputInvalid(f"read model {name}: expected either changes or rows")
        if rows is not None and (len(tables) != 1 or AGGREGATE_ID not in tables[0].c):
            raise InputInvalid(f"read model {name}: rows: expected one table, with a column {AGGREGATE_ID}")
        self.name = name
        self.url = url
        self.tables = tuple(tables)
        self.changes = changes
        self.rows = rows
        self.scope = EventScope(classes, event_types)

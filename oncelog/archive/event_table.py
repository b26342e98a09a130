"""Events as rows of a table: its columns, and operations on tables.

pyarrow is imported where it is needed, since a program that only submits commands should not wait for it. Everything
here computes, and belongs into a thread.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from oncelog.domain.events import Event, read_event
from oncelog.domain.stored_names import event_key
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.ports import StoredEvent, Watermark

#: The columns of text that are members of the event; null where an event of that version has none.
TEXT_COLUMNS = (
    "event_id", "event_type", "schema_version", "aggregate_id", "db_name", "class_id", "instance_id", "command_id",
    "command_hash", "occurred_at", "actor", "correlation_id", "causation_id", "effect", "previous_checksum",
)  # fmt: skip
#: The last three columns. They lie side by side, so that one range of bytes has them: archivers read the first two,
#: readers the last two.
CHECKSUM, KEY, EVENT = "checksum", "key", "event"


@cache
def table_schema() -> Any:
    """Return the columns and their types, as pyarrow has them."""
    import pyarrow as pa

    numbers = ("sequence_number", "definition_sequence_number", "published_generation", "published_through")
    columns = [(name, pa.string()) for name in TEXT_COLUMNS]
    columns += [(name, pa.int64()) for name in numbers]
    columns += [("definition_version", pa.string()), (CHECKSUM, pa.string()), (KEY, pa.string()), (EVENT, pa.string())]
    return pa.schema(columns)


def slot_key(event: Event) -> str:
    """Return the key of the event's slot, by which rows are sorted."""
    return event_key(event.aggregate, event.sequence_number)


def table_of(stored_events: Sequence[StoredEvent]) -> Any:
    """Return the rows of events, which are in the order of their slots' keys."""
    import pyarrow as pa

    events = [stored.event for stored in stored_events]
    extras: list[Mapping[str, Any]] = [event.model_extra or {} for event in events]
    definitions = [_definition(extra) for extra in extras]
    columns: dict[str, list[Any]] = {name: [getattr(event, name, None) for event in events] for name in TEXT_COLUMNS}
    columns["event_type"] = [str(event.event_type) for event in events]
    columns["effect"] = [_text(extra.get("effect")) for extra in extras]
    columns["sequence_number"] = [event.sequence_number for event in events]
    columns["definition_sequence_number"] = [definition[0] for definition in definitions]
    columns["definition_version"] = [definition[1] for definition in definitions]
    columns["published_generation"] = [stored.published_through.generation for stored in stored_events]
    columns["published_through"] = [stored.published_through.through for stored in stored_events]
    columns[CHECKSUM] = [event.checksum for event in events]
    columns[KEY] = [slot_key(event) for event in events]
    columns[EVENT] = [event.canonical.decode() for event in events]
    return pa.table(columns, schema=table_schema())


def _definition(extra: Mapping[str, Any]) -> tuple[int | None, str | None]:
    definition = extra.get("definition")
    if not isinstance(definition, Mapping):
        return None, None
    number, version = definition.get("sequence_number"), definition.get("version")
    return (number if isinstance(number, int) else None), _text(version)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def all_columns() -> Sequence[str]:
    """Return the names of all columns."""
    names: list[str] = table_schema().names
    return names


def values_of(table: Any, name: str) -> list[Any]:
    """Return the values of a column; canonical events as the bytes that they are."""
    import pyarrow as pa

    column = table.column(name)
    values: list[Any] = (column.cast(pa.binary()) if name == EVENT else column).to_pylist()
    return values


def columns_agree(table: Any) -> bool:
    """Return whether the columns are those that the events of the rows make."""
    generations, throughs = (table.column(f"published_{name}").to_pylist() for name in ("generation", "through"))
    try:
        stored = [
            StoredEvent(read_event(event, where="an archived event"), Watermark(generation, through))
            for event, generation, through in zip(values_of(table, EVENT), generations, throughs, strict=True)
        ]
    except (LogDamaged, SchemaUnsupported):
        return True  # the event itself is held against its slot
    agree: bool = table_of(stored).equals(table)
    return agree


def rows_between(table: Any, keys: list[str], first: str, end: str | None) -> tuple[Any, list[str]]:
    """Return the rows with keys from ``first`` on and below ``end``, and their keys."""
    start = bisect_left(keys, first)
    stop = len(keys) if end is None else bisect_left(keys, end)
    return (table.slice(start, stop - start), keys[start:stop]) if (start, stop) != (0, len(keys)) else (table, keys)


def merged(tables: Sequence[tuple[Any, list[str]]]) -> tuple[Any, list[str]]:
    """Return the rows of several sorted tables in the order of their keys, each key once."""
    if len(tables) == 1:
        return tables[0]
    import pyarrow as pa

    keys = [key for _, own in tables for key in own]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    once = [at for at, before in zip(order, [None, *order], strict=False) if before is None or keys[at] != keys[before]]
    return pa.concat_tables([table for table, _ in tables]).take(once), [keys[at] for at in once]

"""The items of a bulk command from CSV: a header that names members, one item in each row."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oncelog.client.bulk_items import BadLines, check_item
from oncelog.domain.bulk.command import BulkType
from oncelog.domain.canonical import canonical_bytes, parse_json
from oncelog.domain.json_pointer import parse_pointer, pointer_of, value_at
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import InputInvalid

#: Columns that are no members of the data.
_OWN_COLUMNS = ("instance_id", "expected_version")
_TEXT = ("string",)


class Column(NamedTuple):
    """A column of data. ``path``: the names that lead to its member; ``types``: of JSON Schema, the text of none."""

    path: tuple[str, ...]
    types: Sequence[str]


def csv_items(
    path: Path, command_type: BulkType, *, class_schema: ClassSchema | None, judged: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield each row as an item; raises InputInvalid that names every bad line, once all rows were gone through.

    The header has ``instance_id`` and ``expected_version``, and for all else names of members or JSON Pointers
    (``/address/city``). A cell is of the type that the class's schema gives its member: ``10`` is a number only there,
    and a text where the schema says nothing. An empty cell leaves the member out. UTF-8, with or without a mark.
    ``judged``: payloads of creates must fit the class besides.
    """
    json_schema = class_schema.definition.json_schema if class_schema else None
    bad = BadLines(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = _columns(next(rows, []), json_schema, where=f"{path}, line 1")
            index = 0
            for row in rows:
                if not row:
                    continue
                try:
                    item = _item(row, columns)
                    line = canonical_bytes(item)
                    against = class_schema if judged else None
                    check_item(line, index=index, command_type=command_type, class_schema=against)
                except InputInvalid as error:
                    bad.add(rows.line_num, error, index=index)
                else:
                    yield item
                index += 1
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputInvalid(f"{path}: expected CSV in UTF-8: {error}") from error
    bad.raise_if_any()


def _columns(
    header: Sequence[str], json_schema: Mapping[str, Any] | None, *, where: str
) -> list[tuple[str, Column | None]]:
    """Return each column's name with its member, None for those that are none; raises InputInvalid."""
    if not header:
        raise InputInvalid(f"{where}: expected a header with the names of members, found nothing")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        raise InputInvalid(f"{where}: expected names that differ, found {twice or 'an empty one'}")
    columns: list[tuple[str, Column | None]] = []
    for name in header:
        if name in _OWN_COLUMNS:
            columns.append((name, None))
            continue
        path = parse_pointer(name) if name.startswith("/") else (name,)
        columns.append((name, Column(path, _types_at(json_schema, path))))
    return columns


def _types_at(json_schema: Mapping[str, Any] | None, path: Sequence[str]) -> Sequence[str]:
    steps = [step for name in path for step in ("properties", name)]
    member = value_at(json_schema, steps) if json_schema else None
    types = member.get("type", _TEXT) if isinstance(member, Mapping) else _TEXT
    return [types] if isinstance(types, str) else list(types)


def _item(row: Sequence[str], columns: Sequence[tuple[str, Column | None]]) -> dict[str, Any]:
    if len(row) != len(columns):
        raise InputInvalid(f"expected {len(columns)} cells as in the header, found {len(row)}")
    item: dict[str, Any] = {}
    payload: dict[str, Any] = {}
    for cell, (name, column) in zip(row, columns, strict=True):
        if not cell:
            continue
        if column is None:
            item[name] = _value(cell, ("integer",), name) if name == "expected_version" else cell
            continue
        *way, last = column.path
        inner: Any = payload
        for step in way:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise InputInvalid(f"{name}: expected an object at {pointer_of(way)}, which another column fills")
        inner[last] = _value(cell, column.types, name)
    if payload:
        item["payload"] = payload
    return item


def _value(cell: str, types: Sequence[str], name: str) -> Any:
    """Return the cell as the first of its types that it can be, a text last."""
    if set(types) != set(_TEXT):
        try:
            value = parse_json(cell)
        except InputInvalid:
            value = None
        else:
            if _json_type(value) & set(types):
                return value
    if "string" in types:
        return cell
    raise InputInvalid(f"{name}: expected {' or '.join(types)}, found {cell[:80]!r}")


def _json_type(value: Any) -> set[str]:
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int | float):
        return {"number", "integer"} if float(value).is_integer() else {"number"}
    by_type = {str: "string", list: "array", dict: "object", type(None): "null"}
    return {by_type[type(value)]}

"""From an operator's input to commands, all of them valid or none accepted."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from oncelog.client.client import new_command_id
from oncelog.domain.canonical import parse_json
from oncelog.domain.commands import Command, parse_command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.tokens import merge_tokens
from oncelog.errors import InputInvalid

STANDARD_INPUT = Path("-")


def parse_target(text: str) -> tuple[str, str, str | None]:
    """Return database, class and instance ID of ``db_name/class_id[/instance_id]``.

    The instance ID may be percent-encoded, as results show it, or plain if there is no ``%`` in it.
    """
    parts = text.split("/", 2)
    if len(parts) < 2:
        raise InputInvalid(f"{text!r}: expected DB/CLASS/INSTANCE, such as shop/Product/p1")
    instance_id = parts[2] if len(parts) == 3 else None
    if instance_id and "%" in instance_id:
        try:
            instance_id = unquote(instance_id, errors="strict")
        except UnicodeDecodeError as error:
            raise InputInvalid(f"{text!r}: expected UTF-8 once percent-decoded, found {error}") from error
    return parts[0], parts[1], instance_id


def parse_aggregate(text: str) -> AggregateId:
    """Return the aggregate that ``db_name/class_id/instance_id`` names; raises InputInvalid."""
    db_name, class_id, instance_id = parse_target(text)
    if instance_id is None:
        raise InputInvalid(f"{text!r}: expected DB/CLASS/INSTANCE, found no instance")
    return AggregateId.of(db_name, class_id, instance_id)


def parse_class(text: str) -> tuple[str, str]:
    """Return database and class of ``db_name/class_id``; raises InputInvalid for an instance."""
    db_name, class_id, instance_id = parse_target(text)
    if instance_id is not None:
        raise InputInvalid(f"{text!r}: expected DB/CLASS, such as shop/Product, found an instance as well")
    return db_name, class_id


def parse_payload(text: str | None) -> dict[str, Any]:
    """Return a JSON object given as text, or in a file as ``@FILE``; raises InputInvalid."""
    if text is None:
        return {}
    data, where = (_read(Path(text[1:])), text[1:]) if text.startswith("@") else (text.encode(), "--payload")
    found = parse_json(data, where=where)
    if not isinstance(found, dict):
        raise InputInvalid(f"{where}: expected a JSON object, found {type(found).__name__}")
    return found


def parse_as_of(text: str) -> int | datetime:
    """Return a version or a time, as ``--as-of`` takes them; raises InputInvalid."""
    return (
        int(text) if text.isascii() and text.isdigit() else parse_time(text, name="--as-of", or_else="a version, or ")
    )


def parse_time(text: str, *, name: str, or_else: str = "") -> datetime:
    """Return an aware time of RFC 3339; raises InputInvalid. ``or_else``: other accepted forms."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputInvalid(f"{name} {text!r}: expected {or_else}a time with its zone, such as 2026-01-31T12:00:00Z")
    return moment


def merged(tokens: Sequence[str] | None) -> str | None:
    """Return one token for all that were given, None for none; raises TokenInvalid, InputInvalid."""
    return merge_tokens(tokens) if tokens else None


def read_commands(path: Path) -> tuple[list[Command], int]:
    """Return the commands of a file (``-``: standard input), and how many of them were given an ID here.

    The file is one JSON object, an array of them, or NDJSON. Raises InputInvalid that names place and finding, for
    the first command that is none.
    """
    commands: list[Command] = []
    given_ids = 0
    for where, value in _values(path):
        if isinstance(value, dict) and "command_id" not in value:
            value = {"command_id": new_command_id(), **value}
            given_ids += 1
        try:
            commands.append(parse_command(value))
        except InputInvalid as error:
            raise InputInvalid(f"{where}: {error.message}; nothing was submitted", **error.details) from error
    if not commands:
        raise InputInvalid(f"{path}: expected at least one command, found none")
    return commands, given_ids


def _values(path: Path) -> Iterator[tuple[str, Any]]:
    data = _read(path)
    name = "standard input" if path == STANDARD_INPUT else str(path)
    if data.lstrip().startswith(b"[") or _is_one_object(data):
        found = parse_json(data, where=name)
        for position, value in enumerate(found if isinstance(found, list) else [found], start=1):
            yield f"{name}, command {position}", value
        return
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            where = f"{name}, line {number}"
            yield where, parse_json(line, where=where)


def _is_one_object(data: bytes) -> bool:
    """Tell one object written over several lines from NDJSON: the first line of the latter is whole."""
    first = data.strip().split(b"\n", 1)[0]
    if not first:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return False


def _read(path: Path) -> bytes:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}") from error

"""The items of a bulk command on disk: NDJSON, each line checked before anything is sent."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from oncelog.domain.bulk.command import Bulk, BulkType, parse_bulk
from oncelog.domain.bulk.items import parse_item
from oncelog.domain.bulk.plan import ItemsScanner, items_in
from oncelog.domain.canonical import canonical_bytes, parse_json
from oncelog.domain.limits import ITEMS_INLINE_BYTES_MAX, LINE_BYTES_MAX
from oncelog.domain.stored_names import payload_key
from oncelog.errors import InputInvalid

PART_BYTES = 8 * 1024 * 1024

#: Called with how many bytes have been gone through so far.
Progressed = Callable[[int], None]


@dataclass(frozen=True)
class CheckedItems:
    """NDJSON on disk of which every line is a valid item. ``sha256``: of its bytes, in hexadecimal."""

    path: Path
    sha256: str
    items_count: int
    size_bytes: int

    @property
    def key(self) -> str:
        """Where the items lie once they are uploaded: under their digest, so that the same ones lie there once."""
        return payload_key(self.sha256)


def unobserved(count: int) -> None:
    """The ordinary case."""


def check_items(path: Path, command_type: BulkType, *, progressed: Progressed = unobserved) -> CheckedItems:
    """Go through a file of NDJSON line by line, holding one line at a time; blocks, so call it in a thread.

    Raises InputInvalid that names the line of the first item that is not valid.
    """
    try:
        with path.open("rb") as file:
            return _checked(_lines(file), path, command_type, progressed=progressed)
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}") from error


@contextmanager
def spooled(source: IO[bytes] | Iterable[Mapping[str, Any]]) -> Iterator[Path]:
    """Write what can be read only once (a pipe, or values) to a file of NDJSON that lasts as long as the block."""
    with tempfile.NamedTemporaryFile(prefix="oncelog-", suffix=".ndjson") as file:
        lines = _lines(source) if hasattr(source, "readline") else (canonical_bytes(item) + b"\n" for item in source)
        for line in lines:
            file.write(line)
        file.flush()
        yield Path(file.name)


def command_on(items: CheckedItems, fields: Mapping[str, Any]) -> Bulk:
    """Return the command on checked items, which travel with it if they are few; raises InputInvalid."""
    payload: dict[str, Any]
    if items.size_bytes <= ITEMS_INLINE_BYTES_MAX:
        lines = items_in(items.path.read_bytes())
        payload = {"items": [parse_json(line, where=f"item {index}") for index, line in enumerate(lines)]}
    else:
        payload = {"items_key": items.key, "items_sha256": items.sha256, "items_count": items.items_count}
    given = {name: value for name, value in fields.items() if value is not None}
    return parse_bulk({**given, "payload": payload})


def parse_type(value: Any) -> BulkType:
    """Return the type of a bulk command; raises InputInvalid."""
    try:
        return BulkType(value)
    except ValueError as error:
        raise InputInvalid(f"command_type: expected one of {', '.join(BulkType)}, found {value!r}") from error


def _checked(lines: Iterable[bytes], path: Path, command_type: BulkType, *, progressed: Progressed) -> CheckedItems:
    scanner = ItemsScanner()
    for index, line in enumerate(lines):
        try:
            scanner.feed(line)
            parse_item(line, index=index, command_type=command_type.of_each)
        except InputInvalid as error:
            problem = error.message.removeprefix(f"item {index}").lstrip(" :")
            raise InputInvalid(f"{path}, line {index + 1}: {problem}", **error.details) from error
        if index % 1_000 == 0:
            progressed(scanner.size_bytes)
    try:
        plan, sha256 = scanner.finish()
    except InputInvalid as error:
        raise InputInvalid(f"{path}: {error.message}", **error.details) from error
    progressed(plan.size_bytes)
    return CheckedItems(path, sha256, plan.items_count, plan.size_bytes)


def _lines(file: Any) -> Iterator[bytes]:
    """Yield lines of a file with their ends; of one that is too long, as much as shows that it is."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        yield line


async def parts_of(path: Path, progressed: Progressed) -> AsyncIterator[bytes]:
    size_bytes = 0
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            yield part
            size_bytes += len(part)
            progressed(size_bytes)

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
from oncelog.domain.commands import CommandType
from oncelog.domain.limits import ITEMS_INLINE_BYTES_MAX, LINE_BYTES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.stored_names import payload_key
from oncelog.errors import InputInvalid

PART_BYTES = 8 * 1024 * 1024
BAD_LINES_MAX = 50  # that an error names

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


class BadLines:
    """The lines of one file that are no valid items: the first ones with their problems, and the count of all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._lines: list[dict[str, Any]] = []

    def add(self, line: int, error: InputInvalid, *, index: int) -> None:
        """Add the problem with item ``index``, which is in this line of the file."""
        self._count += 1
        if len(self._lines) < BAD_LINES_MAX:
            problem = (
                error.message.removeprefix(f"item {index}")
                .removeprefix(" is not valid")
                .removeprefix(" is not valid")
                .lstrip(" :")
            )
            self._lines.append({"line": line, "problem": problem, "errors": error.details.get("errors", [])})

    def raise_if_any(self) -> None:
        """Raise InputInvalid that names each line, if there is one."""
        if not self._count:
            return
        listed = "; ".join(f"line {each['line']}: {each['problem']}" for each in self._lines)
        more = f"; and {self._count - len(self._lines)} more lines" if self._count > len(self._lines) else ""
        raise InputInvalid(f"{self._path}, {listed}{more}", lines=self._lines, lines_count=self._count)


def check_items(
    path: Path,
    command_type: BulkType,
    *,
    class_schema: ClassSchema | None = None,
    progressed: Progressed = unobserved,
) -> CheckedItems:
    """Go through a file of NDJSON line by line, holding one line at a time; blocks, so call it in a thread.

    ``class_schema``: payloads of creates must fit it besides. Raises InputInvalid that names the lines that are no
    valid items.
    """
    try:
        with path.open("rb") as file:
            return _checked(_lines(file), path, command_type, class_schema=class_schema, progressed=progressed)
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}") from error


@contextmanager
def spooled(source: IO[bytes] | Iterable[Mapping[str, Any]]) -> Iterator[Path]:
    """Write a source that is read only once (a pipe, or values) to a file of NDJSON that lasts as long as the block."""
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


def check_item(value: bytes, *, index: int, command_type: BulkType, class_schema: ClassSchema | None) -> None:
    """Raise InputInvalid unless the line is an item, and, of a create, fits the class if one is given."""
    item = parse_item(value, index=index, command_type=command_type.of_each)
    if class_schema is None or command_type.of_each is not CommandType.CREATE_INSTANCE:
        return
    if class_schema.retired:
        raise InputInvalid("its class is retired")
    findings = class_schema.findings(item.payload)
    if findings:
        listed = "; ".join(f"{each['at'] or 'data'}: {each['problem']}" for each in findings[:3])
        raise InputInvalid(f"does not fit version {class_schema.reference.version}: {listed}", errors=list(findings))


def _checked(
    lines: Iterable[bytes],
    path: Path,
    command_type: BulkType,
    *,
    class_schema: ClassSchema | None,
    progressed: Progressed,
) -> CheckedItems:
    scanner, bad = ItemsScanner(), BadLines(path)
    for index, line in enumerate(lines):
        try:
            scanner.feed(line)
        except InputInvalid as error:  # the lines after it cannot be told apart
            bad.add(index + 1, error, index=index)
            break
        try:
            check_item(line, index=index, command_type=command_type, class_schema=class_schema)
        except InputInvalid as error:
            bad.add(index + 1, error, index=index)
        if index % 1_000 == 0:
            progressed(scanner.size_bytes)
    bad.raise_if_any()
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

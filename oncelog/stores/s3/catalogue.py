"""The contents of the bucket, page by page, from one listing each: which commands have records, how far each
log goes.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from urllib.parse import unquote

from oncelog.domain.identifiers import CLASSES, AggregateId, check_command_id
from oncelog.domain.stored_names import COMMANDS, DEAD_LETTERS, EVENTS, event_key, stream_folder
from oncelog.errors import InputInvalid
from oncelog.ports import EventLog, KnownCommand, ListedStream, Page
from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, Bucket, ListedObject

_SLOT = re.compile(r"([0-9]{20})\.json")
_RECORD = re.compile(rf"{COMMANDS}[^/]+/([0-9]{{6}})\.json")
_PAST_ALL = "~"  # sorts above every character that a record's or a slot's name begins with
_PAST_FOLDER = "0"  # the character after "/": sorts above all that lies in a folder


class S3LogCatalogue:
    """``LogCatalogue`` on a bucket. Foreign keys are passed over: telling it apart is for a verification.

    Keys that belong together (a command's records, an aggregate's slots) sort together. Where a page ends in the middle
    of it, it is left to the next page; where it alone is more than a page, its rest is passed over, and ``log`` finds
    the head, so that a page takes a number of requests that hardly grows with the keys it meets.
    """

    def __init__(self, bucket: Bucket, log: EventLog, *, keys_per_list_max: int = KEYS_PER_LIST_MAX) -> None:
        self._bucket = bucket
        self._log = log
        self._keys_per_list_max = keys_per_list_max

    async def commands(self, *, after: str = "") -> Page[KnownCommand]:
        groups, position, _ = await self._page(COMMANDS, after, parts=1)
        found = [
            KnownCommand(command_id, max(item.written_at for item in group), _last_record(group))
            for folder, group in groups
            if (command_id := _command_id(folder)) is not None
        ]
        return Page(found, position)

    async def listed_streams(
        self, *, after: str = "", db_name: str | None = None, class_id: str | None = None
    ) -> Page[ListedStream]:
        prefix = EVENTS + "".join(f"{name}/" for name in (db_name, class_id) if name)
        groups, position, cut = await self._page(prefix, after, parts=3)
        found = [listed_stream for folder, group in groups if (listed_stream := _extent(folder, group)) is not None]
        if cut and found:
            found[-1] = await self._whole(found[-1])
        return Page(found, position)

    async def classes(self, *, after: str = "", db_name: str | None = None) -> Page[ListedStream]:
        """One database to the page, or some of its classes; the others' instances are leapt over."""
        at = db_name or await self._database(after)
        if at is None:
            return Page([], None)
        within = after if after.startswith(f"{EVENTS}{at}/") else ""
        page = await self.listed_streams(after=within, db_name=at, class_id=CLASSES)
        if page.position is None and db_name is None:
            return Page(page.items, f"{EVENTS}{at}{_PAST_FOLDER}")
        return page

    async def class_names(self, *, db_name: str | None = None) -> Sequence[tuple[str, str]]:
        prefix = f"{EVENTS}{db_name}/" if db_name else EVENTS
        found: list[tuple[str, str]] = []
        after = prefix
        while True:
            listed, _ = await self._bucket.list_after(prefix, after, count_max=1)
            if not listed:
                return found
            parts = listed[0].key.split("/")
            if len(parts) < 5:  # foreign: no slot lies there
                after = listed[0].key
                continue
            found.append((parts[1], parts[2]))
            after = f"{EVENTS}{parts[1]}/{parts[2]}{_PAST_FOLDER}"

    async def parking_read_models(self) -> Sequence[str]:
        found: list[str] = []
        after = DEAD_LETTERS
        while True:
            listed, _ = await self._bucket.list_after(DEAD_LETTERS, after, count_max=1)
            if not listed:
                return found
            name, slash, _ = listed[0].key.removeprefix(DEAD_LETTERS).partition("/")
            if not slash:  # foreign: no dead letter lies there
                after = listed[0].key
                continue
            found.append(name)
            after = f"{DEAD_LETTERS}{name}{_PAST_FOLDER}"

    async def _database(self, after: str) -> str | None:
        """Return the database that a position is in, or the next one after it; None after the last."""
        inside = after.removeprefix(EVENTS).split("/")
        if len(inside) > 1:
            return inside[0]
        listed, _ = await self._bucket.list_after(EVENTS, after or EVENTS, count_max=1)
        return listed[0].key.removeprefix(EVENTS).split("/")[0] if listed else None

    async def _page(
        self, prefix: str, after: str, *, parts: int
    ) -> tuple[list[tuple[str, list[ListedObject]]], str | None, bool]:
        """Return the groups of keys on the next page, where to go on, and whether the last one is cut short."""
        listed, more = await self._bucket.list_after(prefix, after or prefix, count_max=self._keys_per_list_max)
        within = [item for item in listed if item.key.count("/") > parts]
        groups = [(folder, list(group)) for folder, group in groupby(within, key=lambda item: _folder(item.key, parts))]
        if not more:
            return groups, None, False
        if not groups:
            return groups, listed[-1].key, False
        if len(groups) > 1:
            groups.pop()
            return groups, groups[-1][1][-1].key, False
        return groups, f"{groups[0][0]}/{_PAST_ALL}", True

    async def _whole(self, listed_stream: ListedStream) -> ListedStream:
        head = await self._log.last_sequence_number(listed_stream.aggregate_id, after=listed_stream.head)
        before = event_key(listed_stream.aggregate_id, head - 1)
        listed, _ = await self._bucket.list_after(stream_folder(listed_stream.aggregate_id), before, count_max=1)
        written_at = listed[0].written_at if listed else listed_stream.written_at
        return ListedStream(listed_stream.aggregate_id, head, written_at, listed_stream.missing)


def _folder(key: str, parts: int) -> str:
    """Return the key down to as many parts below its first."""
    return "/".join(key.split("/", parts + 1)[: parts + 1])


def _command_id(folder: str) -> str | None:
    try:
        return check_command_id(unquote(folder.removeprefix(COMMANDS)))
    except InputInvalid:
        return None


def _last_record(group: Sequence[ListedObject]) -> int:
    """Return the number of the last record, 1 where only a bulk command's chunks are on the page."""
    return max((int(match[1]) for item in group if (match := _RECORD.fullmatch(item.key))), default=1)


def _extent(folder: str, group: Sequence[ListedObject]) -> ListedStream | None:
    try:
        aggregate_id = AggregateId.parse(folder.removeprefix(EVENTS))
    except (InputInvalid, UnicodeDecodeError):
        return None
    slots = [(int(match[1]), item.written_at) for item in group if (match := _SLOT.fullmatch(_name(item.key)))]
    if not slots:
        return None
    missing = next((wanted for wanted, (number, _) in enumerate(slots, start=1) if number != wanted), None)
    return ListedStream(aggregate_id, *slots[-1], missing)


def _name(key: str) -> str:
    return key.rpartition("/")[2]

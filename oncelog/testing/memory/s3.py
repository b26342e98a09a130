"""S3's twin: a bucket in memory under the real stores, so that keys, checks and read-backs are the real ones too."""

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from hashlib import md5

from oncelog.errors import StoreUnavailable
from oncelog.stores.s3.archives import S3Archives
from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, ListedObject, StoredObject
from oncelog.stores.s3.catalogue import S3LogCatalogue
from oncelog.stores.s3.checkpoints import S3Checkpoints
from oncelog.stores.s3.class_names import S3ClassNames
from oncelog.stores.s3.command_records import S3ChunkRecords, S3CommandRecords
from oncelog.stores.s3.dead_letters import S3DeadLetters
from oncelog.stores.s3.event_log import S3EventLog
from oncelog.stores.s3.large_objects import checked
from oncelog.stores.s3.snapshots import S3Snapshots
from oncelog.stores.s3.topic_records import S3TopicRecords
from oncelog.stores.s3.unique_entries import S3UniqueEntries
from oncelog.testing.memory.pause import Pause, let_others

#: Called with the operation and its key; the caller sees its exceptions.
Interruption = Callable[[str, str], None]


#: When an object was written that a test put in its place by hand.
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def _none(_operation: str, _key: str) -> None:
    """Let it pass."""


def _etag(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryBucket:
    """A ``Bucket`` in a dictionary. Every request lets others go first, so that concurrent ones interleave.

    ``available`` False plays an outage. ``before`` and ``after`` interrupt a request before it takes effect, and after
    it did but before it is answered; ``pause`` lets other callers go first; ``clock`` is S3's own.
    """

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.written_at: dict[str, datetime] = {}
        self.clock: Callable[[], datetime] = _now
        self.requests: Counter[str] = Counter()
        self.available = True
        self.before: Interruption = _none
        self.after: Interruption = _none
        self.pause: Pause = let_others

    async def get(self, key: str) -> StoredObject | None:
        await self._begin("GetObject", key)
        found = self.objects.get(key)
        self.after("GetObject", key)
        return found

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        await self._begin("PutObject", key)
        written = key not in self.objects
        if written:
            self._write(key, StoredObject(body, dict(metadata or {})))
        self.after("PutObject", key)
        return None if written else await self.get(key)

    async def put(self, key: str, body: bytes) -> None:
        await self._begin("PutObject", key)
        self._write(key, StoredObject(body))
        self.after("PutObject", key)

    async def delete(self, key: str) -> None:
        await self._begin("DeleteObject", key)
        self.objects.pop(key, None)
        self.after("DeleteObject", key)

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        await self._begin("ListObjectsV2", prefix)
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        start = bisect_right(keys, after)
        self.after("ListObjectsV2", prefix)
        page = [
            ListedObject(key, self.written_at.get(key, LONG_AGO), _etag(self.objects[key].body))
            for key in keys[start : start + count_max]
        ]
        return page, len(keys) > start + count_max

    async def now(self) -> datetime:
        """Return the time by the bucket's clock."""
        await self._begin("ListObjectsV2", "its clock")
        return self.clock()

    def _write(self, key: str, stored: StoredObject) -> None:
        self.objects[key] = stored
        self.written_at[key] = self.clock()

    async def _begin(self, operation: str, key: str) -> None:
        self.requests[operation] += 1
        await self.pause()
        if not self.available:
            raise StoreUnavailable("S3 in memory", f"{operation} {key}", "made unavailable")
        self.before(operation, key)


class MemoryEventLog(S3EventLog):
    """The event log on a bucket in memory."""


class MemoryLogCatalogue(S3LogCatalogue):
    """The log catalogue of a bucket in memory."""


class MemoryArchives(S3Archives):
    """The archives of a bucket in memory."""


class MemoryCommandRecords(S3CommandRecords):
    """Command records on a bucket in memory."""


class MemoryCheckpoints(S3Checkpoints):
    """Reconciliation checkpoints on a bucket in memory."""


class MemoryTopicRecords(S3TopicRecords):
    """Records of topics on a bucket in memory."""


class MemoryDeadLetters(S3DeadLetters):
    """Dead letters on a bucket in memory."""


class MemoryChunkRecords(S3ChunkRecords):
    """Records of chunks on a bucket in memory."""


class MemoryLargeObjects:
    """``LargeObjects`` in memory."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._bucket = bucket

    async def object_size(self, key: str) -> int | None:
        found = await self._bucket.get(key)
        return None if found is None else len(found.body)

    async def read_object(self, key: str, wanted: range) -> bytes:
        if not wanted:
            return b""
        found = await self._bucket.get(key)
        body = None if found is None else found.body[wanted.start : wanted.stop]
        return checked(body, wanted, where=f"S3 in memory, {key}")

    async def write_object(self, key: str, parts: AsyncIterator[bytes]) -> None:
        await self._bucket.put(key, b"".join([part async for part in parts]))


class MemorySnapshots(S3Snapshots):
    """Snapshots on a bucket in memory."""


class MemoryClassNames(S3ClassNames):
    """Class names on a bucket in memory."""


class MemoryUniqueEntries(S3UniqueEntries):
    """Entries of unique values on a bucket in memory."""

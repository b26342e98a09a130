"""The files of replay runs in S3: ``replays/{replay_id}/…``, and the newest run of each scope."""

from collections.abc import AsyncIterator
from urllib.parse import quote

from oncelog.domain.canonical import sha256_hex
from oncelog.ports import LargeObjects

FOLDER = "replays/"
#: How much of a file is held in memory while it is read.
READ_BYTES = 1 << 20


def folder_of(replay_id: str) -> str:
    """Return the folder of a run's files in S3."""
    return f"{FOLDER}{quote(replay_id, safe='')}/"


class ReplayFiles:
    """Reads and writes the files of one run. A second write of a file replaces the first.

    ``folder``: where they lie; None: in the folder of replays.
    """

    def __init__(self, objects: LargeObjects, replay_id: str, *, folder: str | None = None) -> None:
        self._objects = objects
        self.folder = folder_of(replay_id) if folder is None else f"{folder}{quote(replay_id, safe='')}/"
        self.short_name = f"replay-{sha256_hex(replay_id.encode())[:12]}"

    async def write(self, name: str, data: bytes) -> None:
        """Write a whole file; raises StoreUnavailable."""

        async def parts() -> AsyncIterator[bytes]:
            yield data

        await self._objects.write_object(self.folder + name, parts())

    async def read(self, name: str) -> bytes | None:
        """Return a whole file, or None if there is none; raises LogDamaged, StoreUnavailable."""
        size = await self._objects.object_size(self.folder + name)
        return None if size is None else await self._objects.read_object(self.folder + name, range(size))

    async def read_range(self, name: str, wanted: range) -> bytes:
        """Return some bytes of a file; raises LogDamaged, StoreUnavailable."""
        return await self._objects.read_object(self.folder + name, wanted)

    async def lines(self, name: str) -> AsyncIterator[str]:
        """Yield the lines of a file without their newlines, in bounded memory; none if there is no such file."""
        size = await self._objects.object_size(self.folder + name) or 0
        rest = b""
        for start in range(0, size, READ_BYTES):
            block = rest + await self._objects.read_object(
                self.folder + name, range(start, min(size, start + READ_BYTES))
            )
            *whole, rest = block.split(b"\n")
            for line in whole:
                yield line.decode()
        if rest:
            yield rest.decode()


def partition_name(number: int, kind: str, suffix: str) -> str:
    """Return the name of a partition's file, such as ``digests/000003.txt``."""
    return f"{kind}/{number:06d}.{suffix}"


def newest_name(scope: str) -> str:
    """Return the name of the run that points to the newest replay of a scope, in a folder of its own."""
    return f"newest-{scope.replace('/', '-')}"


def checkpoint_name(db_name: str) -> str:
    """Return the name of the signed root of a database."""
    return f"checkpoints/{db_name}.txt"

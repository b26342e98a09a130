"""Dead letters: the truth of the aggregates that wait in each read model, beside the log to catch up from."""

import re
from collections.abc import AsyncIterator, Sequence

from oncelog.domain.dead_letters import DeadLetter, read_dead_letter
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import dead_letter_folder, dead_letter_key
from oncelog.errors import LogDamaged
from oncelog.ports import ListedDeadLetter
from oncelog.stores.s3.bucket import Bucket, ListedObject, StoredObject

_LETTER = re.compile(r"(?P<aggregate_id>[^/]+/[^/]+/[^/]+)/(?P<number>[0-9]{6})\.json")


class S3DeadLetters:
    """``DeadLetters`` on a bucket: ``dead-letters/{read_model}/{aggregate_id}/{number:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def append_dead_letter(self, dead_letter: DeadLetter) -> DeadLetter:
        key = dead_letter_key(dead_letter.read_model, dead_letter.aggregate_id, dead_letter.number)
        existing = await self._bucket.put_if_absent(key, dead_letter.canonical)
        return dead_letter if existing is None else _verified(existing, key)

    async def latest_dead_letter(self, read_model: str, aggregate_id: AggregateId) -> DeadLetter | None:
        keys = await self._keys(f"{dead_letter_folder(read_model)}{aggregate_id}/")
        return await self._read(keys[-1]) if keys else None

    async def dead_letter_history(self, read_model: str, aggregate_id: AggregateId) -> Sequence[DeadLetter]:
        return [await self._read(key) for key in await self._keys(f"{dead_letter_folder(read_model)}{aggregate_id}/")]

    async def read_dead_letter(self, read_model: str, listed: ListedDeadLetter) -> DeadLetter:
        return await self._read(dead_letter_key(read_model, listed.aggregate_id, listed.number))

    async def list_dead_letters(self, read_model: str) -> AsyncIterator[ListedDeadLetter]:
        folder = dead_letter_folder(read_model)
        last: ListedDeadLetter | None = None
        async for found in self._listed(folder):
            match = _LETTER.fullmatch(found.key.removeprefix(folder))
            if match is None:
                continue  # an object of another program
            dead_letter = ListedDeadLetter(
                AggregateId.parse(match["aggregate_id"]), int(match["number"]), found.written_at
            )
            if last is not None and last.aggregate_id != dead_letter.aggregate_id:
                yield last
            last = dead_letter
        if last is not None:
            yield last

    async def _keys(self, prefix: str) -> list[str]:
        return [found.key async for found in self._listed(prefix)]

    async def _listed(self, prefix: str) -> AsyncIterator[ListedObject]:
        after, more = "", True
        while more:
            found, more = await self._bucket.list_after(prefix, after)
            for each in found:
                yield each
            after = found[-1].key if found else after

    async def _read(self, key: str) -> DeadLetter:
        found = await self._bucket.get(key)
        if found is None:
            raise LogDamaged(f"{key}: was listed and is now missing; restore it from its versions", where=key)
        return _verified(found, key)


def _verified(found: StoredObject, key: str) -> DeadLetter:
    """Return the dead letter if it is the one that its key names, or raise LogDamaged."""
    dead_letter = read_dead_letter(found.body, where=key)
    if dead_letter_key(dead_letter.read_model, dead_letter.aggregate_id, dead_letter.number) != key:
        raise LogDamaged(
            f"{key}: expected its own dead letter, found {dead_letter.number} of {dead_letter.aggregate_id}", where=key
        )
    return dead_letter

"""The chains of unique values: entries written once, by conditional PUT (docs/protocol.md, V1 to V6)."""

from oncelog.domain.stored_names import unique_chain_folder
from oncelog.domain.unique.entry import UniqueEntry, ValueChain, read_entry
from oncelog.stores.s3.bucket import Bucket, StoredObject
from oncelog.stores.s3.moved import moved_object
from oncelog.stores.s3.numbered import highest_number

PLACE_DIGITS = 6


class S3UniqueEntries:
    """``UniqueEntries`` on a bucket: ``unique/{db_name}/{class_id}/{constraint}/{sha256}/{n:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write_entry(self, entry: UniqueEntry) -> UniqueEntry:
        existing = await self._bucket.put_if_absent(entry.key, entry.canonical)
        return entry if existing is None else _verified(existing, entry.chain, entry.n)

    async def read_entry(self, chain: ValueChain, n: int) -> UniqueEntry | None:
        stored = await self._bucket.get(chain.key_of(n))
        return None if stored is None else _verified(stored, chain, n)

    async def last_place(self, chain: ValueChain, *, after: int = 0) -> int:
        folder = unique_chain_folder(chain.db_name, chain.class_id, *chain.value)
        return await highest_number(self._bucket, folder, after=after, digits=PLACE_DIGITS)


def _verified(stored: StoredObject, chain: ValueChain, n: int) -> UniqueEntry:
    """Return the entry if it is whole and the one that its key names, or raise LogDamaged."""
    where = f"entry {n} of {chain}"
    entry = read_entry(stored.body, where=where)
    if (entry.chain, entry.n) != (chain, n):
        raise moved_object(where, expected="entry", found=f"entry {entry.n} of {entry.chain}")
    return entry

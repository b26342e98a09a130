"""Reads entries of unique values by their keys: entries that records name, and collected entries once more."""

from collections.abc import Collection, Sequence
from functools import partial

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.unique.entry import Place, UniqueEntry
from oncelog.errors import LogDamaged
from oncelog.stores.s3 import Bucket
from oncelog.verification import reading
from oncelog.verification.chains import EntryFacts
from oncelog.verification.entries import StoredEntries, read_own


async def read_entries(bucket: Bucket, entries: StoredEntries, keys: Collection[str]) -> list[EntryFacts]:
    """Note the objects under some keys now, and return the entries among them, each with the place after it.

    Raises StoreUnavailable.
    """

    async def read(key: str) -> EntryFacts | None:
        try:
            stored = await reading.answered(partial(bucket.get, key))
        except LogDamaged as error:
            entries.add(key, None, damage=error.message)
            return None
        if stored is None:
            entries.add_free(key)
            return None
        entries.add(key, stored.body)
        entry = read_own(key, stored.body)
        if not isinstance(entry, UniqueEntry):
            return None
        return EntryFacts(entry, await _place_after(bucket, entry), is_late=True)

    found = await bounded_gather(read, sorted(keys), at_once=reading.READS_IN_FLIGHT_MAX)
    return [facts for facts in found if facts is not None]


async def entries_again(bucket: Bucket, known: Sequence[EntryFacts]) -> list[EntryFacts]:
    """Read entries and those after them anew; without those that are not there as they were."""

    async def read(facts: EntryFacts) -> EntryFacts | None:
        found = await reading.read_object(bucket, facts.entry.key)
        if found.body != facts.entry.canonical:
            return None
        return EntryFacts(facts.entry, await _place_after(bucket, facts.entry))

    found = await bounded_gather(read, known, at_once=reading.READS_IN_FLIGHT_MAX)
    return [facts for facts in found if facts is not None]


async def _place_after(bucket: Bucket, entry: UniqueEntry) -> Place | None:
    """Return the place after an entry's as the entry in it says; None where there is none that can be read."""
    key = entry.chain.key_of(entry.n + 1)
    found = await reading.read_object(bucket, key)
    following = read_own(key, found.body) if found.body is not None else None
    return following.own_place if isinstance(following, UniqueEntry) else None

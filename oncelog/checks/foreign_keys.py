"""Keys that lie in no class, of events or of unique values. Leaps over the classes: other steps read their keys."""

from collections.abc import AsyncIterator, Collection
from functools import partial

from oncelog.checks.plan import PAST_CLASS
from oncelog.domain.stored_names import EVENTS, UNIQUE
from oncelog.stores.s3 import Bucket
from oncelog.verification.audit import slot_of
from oncelog.verification.chains import foreign_key
from oncelog.verification.findings import Code, Finding
from oncelog.verification.reading import answered


async def foreign_event_keys(
    bucket: Bucket, db_name: str | None, populated: Collection[tuple[str, str]]
) -> AsyncIterator[Finding]:
    """Yield the keys of ``events/`` that name no slot and lie in no class of ``populated``; raises StoreUnavailable."""
    folders = {f"{EVENTS}{db}/{name}/" for db, name in populated}
    async for key in _keys_beside(bucket, _within(EVENTS, db_name), folders):
        if slot_of(key) is None:
            found = "expected an event's slot here, found a key that names none; remove it"
            yield Finding(Code.OBJECT_FOREIGN, key, found)


async def foreign_unique_keys(bucket: Bucket, db_name: str | None) -> AsyncIterator[Finding]:
    """Yield the keys of ``unique/`` that lie in no class at all; raises StoreUnavailable."""
    async for key in _keys_beside(bucket, _within(UNIQUE, db_name), None):
        yield foreign_key(key)


def _within(folder: str, db_name: str | None) -> str:
    return f"{folder}{db_name}/" if db_name else folder


async def _keys_beside(bucket: Bucket, within: str, classes: Collection[str] | None) -> AsyncIterator[str]:
    """Yield the keys under a prefix that lie in none of these folders of classes; None: in no folder of a class."""
    after, more = within, True
    while more:
        listed, more = await answered(partial(bucket.list_after, within, after))
        for item in listed:
            *folder, _ = item.key.split("/", 3)
            name = "/".join(folder) + "/"
            if len(folder) == 3 and (classes is None or name in classes):
                after, more = name.removesuffix("/") + PAST_CLASS, True
                break
            after = item.key
            yield item.key

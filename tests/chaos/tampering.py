"""A foreign hand changes an event in S3, against every rule: whether the bucket allows it, and readers notice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from oncelog.client.client import Oncelog
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.settings import Settings
from oncelog.stores.opening import Stores


class Unnoticed(AssertionError):
    """An event was altered, and a reader took it for what was written."""


@asynccontextmanager
async def tampered(settings: Settings, *, how: str, which: int) -> AsyncIterator[dict[str, Any]]:
    """Overwrite or delete the ``which``-th event, see that it is denied or noticed, and restore it at the end.

    Raises Unnoticed.
    """
    async with await Stores.connect(settings) as stores:
        ask = partial(_Attacker(stores).ask)
        key = await ask("pick", which)
        if key is None:
            yield {"nothing": "no event is there yet"}
            return
        try:
            version = await ask(how, key)
        except ClientError as error:
            yield {"key": key, "denied": str(error)}
            return
        try:
            await _demand_noticed(stores, settings, key)
            yield {"key": key, "noticed": True}
        finally:
            await ask("restore", key, version)


class _Attacker:
    """Has the rights of the installation itself, and uses S3's own operations."""

    def __init__(self, stores: Stores) -> None:
        self._client = stores.bucket.client
        self._bucket = stores.bucket.name
        self._prefix = stores.bucket.prefix

    async def ask(self, what: str, *given: Any) -> Any:
        return await asyncio.to_thread(getattr(self, what), *given)

    def pick(self, which: int) -> str | None:
        found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}events/", MaxKeys=1 + which)
        keys = [item["Key"] for item in found.get("Contents", [])]
        return keys[-1] if keys else None

    def overwrite(self, key: str) -> str:
        event = json.loads(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        event["data"] = {"forged": True}
        answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=json.dumps(event).encode())
        return str(answer["VersionId"])

    def delete(self, key: str) -> str:
        return str(self._client.delete_object(Bucket=self._bucket, Key=key)["VersionId"])

    def restore(self, key: str, version: str) -> None:
        """Take away what was put over it."""
        self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version)
        self._client.head_object(Bucket=self._bucket, Key=key)


async def _demand_noticed(stores: Stores, settings: Settings, key: str) -> None:
    place, slot = key.removeprefix(f"{settings.s3_prefix}events/").removesuffix(".json").rsplit("/", 1)
    number = int(slot)
    reader = Oncelog(stores.ports, settings)
    try:
        found = [event async for event in reader.history(AggregateId.parse(place), after=number - 1)]
    except LogDamaged:
        return
    if any(event.sequence_number == number for event in found) or not found:
        raise Unnoticed(f"{key}: altered, and read without a word")

"""The bucket: objects written once or replaced, read whole and verified, listed in order."""

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from oncelog.errors import ContainerUnusable, LogDamaged, StoreUnavailable, UnusableReason
from oncelog.metrics import store_request
from oncelog.stores.s3.refusals import error_code, refused
from oncelog.stores.s3.requests import Boto3Requests, ObjectRequests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS_PER_LIST_MAX = 1000  # S3's own limit, see ListObjectsV2

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read: its bytes and its user metadata."""

    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


class ListedObject(NamedTuple):
    """An object as a listing shows it. ``written_at``: by S3's own clock, in whole seconds on some servers.

    ``etag``: the MD5 of the bytes in hexadecimal, of buckets that are not encrypted with keys of their own.
    """

    key: str
    written_at: datetime
    etag: str = ""


class Bucket(Protocol):
    """The requests of the stores to S3. All may raise StoreUnavailable; all may be repeated."""

    async def get(self, key: str) -> StoredObject | None:
        """Return the object, or None if there is none. Raises LogDamaged if its bytes are not those written."""
        ...

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        """Write the object unless one exists: None if ours was acknowledged, else the existing one (maybe ours)."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Write the object, replacing any existing one."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the object, where there is one. For derived objects only: nothing of the log is ever deleted."""
        ...

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        """Return the next objects with the prefix and keys that sort above ``after``, and whether there are more."""
        ...


class S3Bucket:
    """One bucket. Objects go through ``objects``, all else through boto3, which blocks and is called in threads.

    ``requests`` counts the requests sent, by operation. Nothing is tried twice here: the caller's policy does that.
    ``renew_credentials`` is called in a thread after S3 has refused those it has.
    """

    def __init__(
        self,
        client: "S3Client",
        *,
        name: str,
        prefix: str = "",
        threads: ThreadPoolExecutor,
        objects: ObjectRequests | None = None,
        renew_credentials: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.store = f"S3 at {client.meta.endpoint_url}"
        self.requests: Counter[str] = Counter()
        self._threads = threads
        self._objects = objects or Boto3Requests(client, bucket=name, threads=threads)
        self._renew_credentials = renew_credentials

    async def get(self, key: str) -> StoredObject | None:
        try:
            return await self._get(key)
        except FlexibleChecksumError:
            pass  # bits may have flipped on the way: only bytes that read wrong twice are stored wrong
        try:
            return await self._get(key)
        except FlexibleChecksumError as error:
            where = f"{self.store}, {self.name}/{self.prefix}{key}"
            raise LogDamaged(
                f"{where}: its bytes are not those that were written: {error}; run oncelog verify", where=where
            ) from error

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        refusal = await self._put(key, body, if_absent=True, metadata=metadata or {})
        if refusal is None:
            return None
        existing = await self.get(key)
        if existing is None:
            raise StoreUnavailable(self.store, f"PutObject {key}", f"{refusal}, yet nothing stands there")
        return existing

    async def put(self, key: str, body: bytes) -> None:
        doubt = await self._put(key, body, if_absent=False, metadata={})
        if doubt is not None:
            raise StoreUnavailable(self.store, f"PutObject {key}", doubt)

    async def delete(self, key: str) -> None:
        request = partial(self.client.delete_object, Bucket=self.name, Key=self.prefix + key)
        await self.call("DeleteObject", request, at=key)

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        return await self.call("ListObjectsV2", partial(self._list_after, prefix, after, count_max), at=prefix)

    async def now(self) -> datetime:
        """Return the time by S3's clock, in whole seconds, without writing anything; raises StoreUnavailable."""
        return await self.call("ListObjectsV2", self._now, at="its clock")

    async def close(self) -> None:
        """Let the requests under way end, and close the connections."""
        await self._objects.close()
        await asyncio.to_thread(self._threads.shutdown)
        self.client.close()

    async def call(self, operation: str, request: Callable[[], Answer], *, at: str) -> Answer:
        """Run a blocking request of boto3 in a thread; raises StoreUnavailable without a usable answer."""
        with self._asking(operation, at=at):
            return await asyncio.get_running_loop().run_in_executor(self._threads, request)

    @contextmanager
    def _asking(self, operation: str, *, at: str) -> Iterator[None]:
        """Count a request, and turn a failure of it into our own errors."""
        self.requests[operation] += 1
        try:
            with store_request("s3", operation):
                yield
        except FlexibleChecksumError:
            raise
        except (BotoCoreError, ClientError, ResponseParserError, HTTPError, aiohttp.ClientError, OSError) as error:
            raise self._refused(error, f"{operation} {at}") from error
        except RuntimeError as error:  # botocore's word for credentials that are expired still after it fetched them
            if "credentials" not in str(error).lower():
                raise
            raise self._refused(error, f"{operation} {at}") from error

    def _refused(self, error: Exception, doing: str) -> StoreUnavailable:
        """Return our error for a driver's exception; refused credentials are read anew, for the next attempt."""
        refusal = refused(error, self.store, self.name, doing)
        if isinstance(refusal, ContainerUnusable) and refusal.reason is UnusableReason.CREDENTIALS:
            with suppress(RuntimeError):  # closed meanwhile
                self._threads.submit(self._renew_credentials)
        return refusal

    async def _get(self, key: str) -> StoredObject | None:
        with self._asking("GetObject", at=key):
            try:
                response = await self._objects.get_object(self.prefix + key)
            except ClientError as error:
                if error_code(error) != "NoSuchKey":  # a missing bucket is no missing object
                    raise
                if "x-amz-delete-marker" in error.response["ResponseMetadata"].get("HTTPHeaders", {}):
                    where = f"{self.store}, {self.name}/{self.prefix}{key}"
                    raise LogDamaged(f"{where}: was deleted; restore its last version", where=where) from error
                return None
        if "ContentLength" not in response or "ETag" not in response:  # without them no truncation would be noticed
            raise StoreUnavailable(self.store, f"GetObject {key}", "an answer without Content-Length or ETag")
        return StoredObject(response["Body"], response["Metadata"])

    async def _put(self, key: str, body: bytes, *, if_absent: bool, metadata: Mapping[str, str]) -> str | None:
        """Return None if the write was acknowledged with our checksum, else why that is doubtful."""
        sha256 = hashlib.sha256(body).digest()
        with self._asking("PutObject", at=key):
            try:
                response = await self._objects.put_object(
                    self.prefix + key, body, sha256=sha256, if_absent=if_absent, metadata=metadata
                )
            except ClientError as error:
                if not if_absent or error.response["ResponseMetadata"].get("HTTPStatusCode") not in (409, 412):
                    raise
                return str(error)
        if not response.get("ETag"):
            return "an answer without ETag"
        checksum = base64.b64encode(sha256).decode()
        if response.get("ChecksumSHA256") != checksum:
            return f"expected checksum {checksum}, found {response.get('ChecksumSHA256')}"
        return None

    def _now(self) -> datetime:
        response = self.client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)
        answered_at = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        if answered_at is None:
            raise StoreUnavailable(self.store, "ListObjectsV2", "an answer without a date")
        return parsedate_to_datetime(answered_at)

    def _list_after(self, prefix: str, after: str, count_max: int) -> tuple[list[ListedObject], bool]:
        response = self.client.list_objects_v2(
            Bucket=self.name, Prefix=self.prefix + prefix, StartAfter=self.prefix + after, MaxKeys=count_max
        )
        if "IsTruncated" not in response:
            raise StoreUnavailable(self.store, f"ListObjectsV2 {prefix}", "an answer that does not say if it is all")
        found = [
            ListedObject(item["Key"].removeprefix(self.prefix), item["LastModified"], item.get("ETag", "").strip('"'))
            for item in response.get("Contents", [])
        ]
        return found, response["IsTruncated"]

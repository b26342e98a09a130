"""The bucket: objects written once or replaced, read whole and verified, listed in order."""

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.handlers import convert_body_to_file_like_object
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from factline.errors import LogDamaged, SettingsInvalid, StoreUnavailable
from factline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
KEYS_PER_LIST_MAX = 1000  # S3's own limit, see ListObjectsV2

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read: its bytes and its user metadata."""

    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


class ListedObject(NamedTuple):
    """An object as a listing shows it. ``written_at``: by S3's own clock, in whole seconds on some servers."""

    key: str
    written_at: datetime


class Bucket(Protocol):
    """What the stores need of S3. All may raise StoreUnavailable; all may be repeated."""

    async def get(self, key: str) -> StoredObject | None:
        """Return the object, or None if there is none. Raises LogDamaged if its bytes are not those written."""
        ...

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        """Write the object unless one stands there: None if ours was acknowledged, else what stands (maybe ours)."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Write the object, replacing what stands there."""
        ...

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        """Return the next objects with the prefix whose keys sort above ``after``, and whether there are more."""
        ...


class S3Bucket:
    """One bucket behind boto3, which blocks and is therefore called in as many threads as it may hold connections.

    ``requests`` counts what was sent, by operation. Nothing is tried twice here: the caller's policy does that.
    """

    def __init__(self, client: "S3Client", *, name: str, prefix: str = "", connections_max: int = 32) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.store = f"S3 at {client.meta.endpoint_url}"
        self.requests: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(connections_max, thread_name_prefix="s3")

    async def get(self, key: str) -> StoredObject | None:
        try:
            return await self.call("GetObject", partial(self._get, key), at=key)
        except FlexibleChecksumError:
            pass  # bits may have flipped on the way: only what reads wrong twice lies there wrong
        try:
            return await self.call("GetObject", partial(self._get, key), at=key)
        except FlexibleChecksumError as error:
            where = f"{self.store}, {self.name}/{self.prefix}{key}"
            raise LogDamaged(
                f"{where}: its bytes are not those that were written: {error}; run a consistency check", where=where
            ) from error

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        refusal = await self.call("PutObject", partial(self._put_if_absent, key, body, metadata or {}), at=key)
        if refusal is None:
            return None
        standing = await self.get(key)
        if standing is None:
            raise StoreUnavailable(self.store, f"PutObject {key}", f"{refusal}, yet nothing stands there")
        return standing

    async def put(self, key: str, body: bytes) -> None:
        doubt = await self.call("PutObject", partial(self._put, key, body), at=key)
        if doubt is not None:
            raise StoreUnavailable(self.store, f"PutObject {key}", doubt)

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        return await self.call("ListObjectsV2", partial(self._list_after, prefix, after, count_max), at=prefix)

    async def close(self) -> None:
        """Let the requests under way end, and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self.client.close()

    async def call(self, operation: str, request: Callable[[], Answer], *, at: str) -> Answer:
        """Run a blocking request in a thread; whatever is not an answer becomes StoreUnavailable."""
        self.requests[operation] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, request)
        except FlexibleChecksumError:
            raise
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise SettingsInvalid(f"{self.store}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except (BotoCoreError, ClientError, ResponseParserError, HTTPError, OSError) as error:
            raise StoreUnavailable(self.store, f"{operation} {at}", error) from error

    def _get(self, key: str) -> StoredObject | None:
        try:
            response = self.client.get_object(Bucket=self.name, Key=self.prefix + key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error_code(error) != "NoSuchKey":  # a missing bucket is no missing object
                raise
            if "x-amz-delete-marker" in error.response["ResponseMetadata"].get("HTTPHeaders", {}):
                where = f"{self.store}, {self.name}/{self.prefix}{key}"
                raise LogDamaged(f"{where}: was deleted; restore its last version", where=where) from error
            return None
        if "ContentLength" not in response or "ETag" not in response:  # without them no truncation would be noticed
            raise StoreUnavailable(self.store, f"GetObject {key}", "an answer without Content-Length or ETag")
        return StoredObject(response["Body"].read(), response["Metadata"])

    def _put_if_absent(self, key: str, body: bytes, metadata: Mapping[str, str]) -> str | None:
        """Return None if the write was acknowledged, else why to read back."""
        try:
            return self._put(key, body, IfNoneMatch="*", Metadata=metadata)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (409, 412):
                raise
            return str(error)

    def _put(self, key: str, body: bytes, **conditions: Any) -> str | None:
        """Return None if the write was acknowledged with our checksum, else what is doubtful about the answer."""
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        response = self.client.put_object(
            Bucket=self.name,
            Key=self.prefix + key,
            Body=body,
            ContentType="application/json",
            ChecksumSHA256=checksum,
            **conditions,
        )
        if not response.get("ETag"):
            return "an answer without ETag"
        if response.get("ChecksumSHA256") != checksum:
            return f"expected checksum {checksum}, found {response.get('ChecksumSHA256')}"
        return None

    def _list_after(self, prefix: str, after: str, count_max: int) -> tuple[list[ListedObject], bool]:
        response = self.client.list_objects_v2(
            Bucket=self.name, Prefix=self.prefix + prefix, StartAfter=self.prefix + after, MaxKeys=count_max
        )
        if "IsTruncated" not in response:
            raise StoreUnavailable(self.store, f"ListObjectsV2 {prefix}", "an answer that does not say if it is all")
        found = [
            ListedObject(item["Key"].removeprefix(self.prefix), item["LastModified"])
            for item in response.get("Contents", [])
        ]
        return found, response["IsTruncated"]


def connect(settings: Settings) -> S3Bucket:
    """Make the client, without a request yet; takes about 100 ms, blocking. Raises SettingsInvalid.

    The options leave out what costs time and gives nothing here: measured, they halve the CPU time of a PUT.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        max_pool_connections=settings.s3_connections_max,
        retries={"mode": "standard", "total_max_attempts": 1},
        parameter_validation=False,
        request_checksum_calculation="when_required",  # we give our own
        response_checksum_validation="when_required",
        user_agent="factline",  # the default one is composed anew for every request
        s3={"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
    )
    try:
        client = boto3.session.Session().client("s3", endpoint_url=settings.s3_endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise SettingsInvalid(f"FACTLINE_S3_ENDPOINT_URL {settings.s3_endpoint_url}: {error}") from error
    # As bytes, a body leaves with its headers in one packet; as a file, botocore first asks with Expect: 100-continue.
    client.meta.events.unregister("before-parameter-build.s3.PutObject", convert_body_to_file_like_object)
    return S3Bucket(
        client, name=settings.s3_bucket, prefix=settings.s3_prefix, connections_max=settings.s3_connections_max
    )


def error_code(error: ClientError) -> str:
    """Return S3's own word for the error, or the HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))

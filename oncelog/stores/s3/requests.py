"""GetObject and PutObject through boto3, which blocks and is therefore called in threads."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONTENT_TYPE = "application/json"
USER_AGENT = "oncelog"

Answer = TypeVar("Answer")


class ObjectRequests(Protocol):
    """The two requests that read and write objects; both answer with boto3's fields, and raise boto3's errors."""

    async def get_object(self, key: str) -> dict[str, Any]:
        """Return the answer, ``Body`` read as bytes. Raises FlexibleChecksumError if they differ from those written."""
        ...

    async def put_object(
        self, key: str, body: bytes, *, sha256: bytes, if_absent: bool, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        """Send the object with its digest; ``if_absent``: only where the key has no object yet."""
        ...

    async def close(self) -> None:
        """Close its own connections."""
        ...


class Boto3Requests:
    """``ObjectRequests`` as boto3 sends them: with all that its configuration asks for, large bodies too."""

    def __init__(self, client: "S3Client", *, bucket: str, threads: Executor) -> None:
        self._client = client
        self._bucket = bucket
        self._threads = threads

    async def get_object(self, key: str) -> dict[str, Any]:
        return await self.run(partial(self._get, key))

    async def put_object(
        self, key: str, body: bytes, *, sha256: bytes, if_absent: bool, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        conditions = {"IfNoneMatch": "*"} if if_absent else {}
        request: Callable[..., Any] = self._client.put_object
        return await self.run(
            partial(
                request,
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=CONTENT_TYPE,
                ChecksumSHA256=base64.b64encode(sha256).decode(),
                Metadata=metadata,
                **conditions,
            )
        )

    async def close(self) -> None:
        """Do nothing: client and threads belong to the caller."""

    async def run(self, request: Callable[[], Answer]) -> Answer:
        """Run a blocking request in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, request)

    def _get(self, key: str) -> dict[str, Any]:
        response = self._client.get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        return {**response, "Body": response["Body"].read()}

"""Objects too large to be held in memory: read by ranges, written by parts."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.stores.s3.bucket import S3Bucket
from oncelog.stores.s3.refusals import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

COMPLETING_TIMEOUT_S = 300  # an S3 on a file system puts the parts together before it answers


class S3LargeObjects:
    """``LargeObjects`` on a bucket."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket
        self._patient_client: S3Client | None = None

    async def object_size(self, key: str) -> int | None:
        return await self._bucket.call("HeadObject", partial(self._size, key), at=key)

    async def read_object(self, key: str, wanted: range) -> bytes:
        if not wanted:
            return b""
        data = await self._bucket.call("GetObject", partial(self._read, key, wanted), at=key)
        return checked(data, wanted, where=f"{self._bucket.store}, {self._bucket.name}/{self._bucket.prefix}{key}")

    async def write_object(self, key: str, parts: AsyncIterator[bytes]) -> None:
        """Write one part as any object; several as S3's multipart upload, which is completed or aborted."""
        first = await anext(parts, b"")
        second = await anext(parts, None)
        if second is None:
            await self._bucket.put(key, first)
            return
        upload_id = await self._bucket.call("CreateMultipartUpload", partial(self._begin, key), at=key)
        try:
            written = [await self._write_part(key, upload_id, 1, first)]
            written.append(await self._write_part(key, upload_id, 2, second))
            async for part in parts:
                written.append(await self._write_part(key, upload_id, len(written) + 1, part))
            await self._bucket.call("CompleteMultipartUpload", partial(self._complete, key, upload_id, written), at=key)
        except BaseException:
            await asyncio.shield(
                self._bucket.call("AbortMultipartUpload", partial(self._abort, key, upload_id), at=key)
            )
            raise

    async def _write_part(self, key: str, upload_id: str, number: int, body: bytes) -> "CompletedPartTypeDef":
        return await self._bucket.call("UploadPart", partial(self._upload, key, upload_id, number, body), at=key)

    def _size(self, key: str) -> int | None:
        try:
            return self._bucket.client.head_object(Bucket=self._bucket.name, Key=self._key(key))["ContentLength"]
        except ClientError as error:
            if error_code(error) not in ("404", "NoSuchKey"):
                raise
            return None

    def _read(self, key: str, wanted: range) -> bytes | None:
        try:
            response = self._bucket.client.get_object(
                Bucket=self._bucket.name, Key=self._key(key), Range=f"bytes={wanted.start}-{wanted.stop - 1}"
            )
        except ClientError as error:
            if error_code(error) not in ("NoSuchKey", "InvalidRange"):
                raise
            return None
        if "ContentLength" not in response:  # without it no truncation would be noticed
            raise StoreUnavailable(self._bucket.store, f"GetObject {key}", "an answer without Content-Length")
        return response["Body"].read()

    def _begin(self, key: str) -> str:
        response = self._bucket.client.create_multipart_upload(
            Bucket=self._bucket.name,
            Key=self._key(key),
            ContentType="application/x-ndjson",
            ChecksumAlgorithm="SHA256",
        )
        return response["UploadId"]

    def _upload(self, key: str, upload_id: str, number: int, body: bytes) -> "CompletedPartTypeDef":
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        response = self._bucket.client.upload_part(
            Bucket=self._bucket.name,
            Key=self._key(key),
            UploadId=upload_id,
            PartNumber=number,
            Body=body,
            ChecksumSHA256=checksum,
        )
        if not response.get("ETag") or response.get("ChecksumSHA256") != checksum:
            raise StoreUnavailable(self._bucket.store, f"UploadPart {number} of {key}", "not acknowledged as sent")
        return {"PartNumber": number, "ETag": response["ETag"], "ChecksumSHA256": checksum}

    def _complete(self, key: str, upload_id: str, written: list["CompletedPartTypeDef"]) -> None:
        self._patient().complete_multipart_upload(
            Bucket=self._bucket.name,
            Key=self._key(key),
            UploadId=upload_id,
            MultipartUpload={"Parts": written},
        )

    def _abort(self, key: str, upload_id: str) -> None:
        self._bucket.client.abort_multipart_upload(Bucket=self._bucket.name, Key=self._key(key), UploadId=upload_id)

    def _patient(self) -> "S3Client":
        if self._patient_client is None:
            known = self._bucket.client.meta
            config = known.config.merge(Config(read_timeout=COMPLETING_TIMEOUT_S))
            self._patient_client = boto3.session.Session().client("s3", endpoint_url=known.endpoint_url, config=config)
        return self._patient_client

    def _key(self, key: str) -> str:
        return self._bucket.prefix + key


def checked(data: bytes | None, wanted: range, *, where: str) -> bytes:
    """Return the bytes if they are all that was wanted; raises LogDamaged."""
    if data is None or len(data) != len(wanted):
        found = "no such object or range" if data is None else f"{len(data)} bytes"
        raise LogDamaged(
            f"{where}: expected bytes {wanted.start} to {wanted.stop}, found {found}; restore what was written there",
            where=where,
        )
    return data

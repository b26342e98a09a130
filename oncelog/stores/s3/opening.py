"""Making the bucket ready, and refusing an S3 on which facts could be lost or doubled."""

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import ClientError

from oncelog.errors import StoreUnsafe
from oncelog.settings import Settings
from oncelog.stores.s3.bucket import Bucket, S3Bucket
from oncelog.stores.s3.connecting import connect
from oncelog.stores.s3.refusals import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROBE_WRITERS = 8

_log = structlog.get_logger()


async def open_bucket(settings: Settings) -> S3Bucket:
    """Connect, make the bucket if there is none, and probe that it is safe.

    Raises SettingsInvalid, StoreUnavailable, and StoreUnsafe where a guarantee or a right is missing.
    """
    bucket = await asyncio.to_thread(connect, settings)
    try:
        await prepare_bucket(bucket)
    except BaseException:
        await bucket.close()
        raise
    return bucket


async def prepare_bucket(bucket: S3Bucket) -> None:
    """Make the bucket if there is none, and probe that it is safe; raises StoreUnavailable, StoreUnsafe."""
    await bucket.call("HeadBucket", partial(_make_ready, bucket), at=bucket.name)
    await probe_conditional_put(bucket)


async def probe_conditional_put(bucket: Bucket) -> None:
    """Raise StoreUnsafe unless of several writers of one key exactly one wins, and later ones change nothing.

    Leaves one object of 36 bytes behind: to delete objects is a right that a writer need not have.
    """
    key = f"probes/{uuid.uuid4()}.json"
    bodies = [f'"{uuid.uuid4()}"'.encode() for _ in range(PROBE_WRITERS)]
    racing = await asyncio.gather(*(bucket.put_if_absent(key, body) for body in bodies))
    if all(existing is not None for existing in racing):
        raise _unsafe(key, "a written object is not acknowledged with its ETag and SHA-256 checksum")
    winners = [body for body, existing in zip(bodies, racing, strict=True) if existing is None]
    if len(winners) != 1:
        raise _unsafe(key, f"{len(winners)} of {PROBE_WRITERS} concurrent writers were told that they were first")
    late = await bucket.put_if_absent(key, b'"late"')
    found = await bucket.get(key)
    existing_bodies = [existing.body for existing in (*racing, late, found) if existing is not None]
    if late is None or set(existing_bodies) != set(winners):
        raise _unsafe(key, "a later writer replaced what stood there")


def _unsafe(key: str, found: str) -> StoreUnsafe:
    return StoreUnsafe(
        f"S3 does not honour If-None-Match: *, found at {key}: {found}. Events could be overwritten; use an S3 that "
        "has conditional writes (AWS, MinIO, VersityGW 1.8.0 or newer)"
    )


def _make_ready(bucket: S3Bucket) -> None:
    """Find or make the bucket, blocking, and log a warning if it has no object lock."""
    client, name = bucket.client, bucket.name
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error_code(error) in ("403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"):
            where = f"{bucket.store}, bucket {name}"
            raise StoreUnsafe(f"{where}: {error}; check the keys, and grant this user the rights") from error
        if error_code(error) not in ("404", "NoSuchBucket"):
            raise
        _create(client, name)
    if not has_object_lock(client, name):
        _log.warning("bucket_without_object_lock", bucket=name, means="nothing but rights keeps events from deletion")


def _create(client: "S3Client", name: str) -> None:
    wanted: dict[str, Any] = {"Bucket": name}
    region = client.meta.region_name
    if region not in ("us-east-1", "aws-global"):  # the one region that must not be named, see CreateBucket
        wanted["CreateBucketConfiguration"] = {"LocationConstraint": region}
    try:
        client.create_bucket(**wanted, ObjectLockEnabledForBucket=True)
    except ClientError as error:
        if error_code(error) in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            return  # another worker was faster
        if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (400, 501):
            raise
        _log.warning("object_lock_not_offered", bucket=name, reason=str(error))
        client.create_bucket(**wanted)


def has_object_lock(client: "S3Client", name: str) -> bool:
    """Object Lock implies versioning, so one question does for both."""
    try:
        found = client.get_object_lock_configuration(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"].get("HTTPStatusCode", 500) >= 500:
            raise
        return False
    return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

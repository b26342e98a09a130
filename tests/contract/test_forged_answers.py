"""S3 when its answers are not what they should be, forged through boto3's own events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError

from oncelog.domain.instance import Instance
from oncelog.errors import LogDamaged, StoreUnavailable, StoreUnsafe
from oncelog.ports import UNPUBLISHED, StoredEvent
from oncelog.settings import Settings
from oncelog.stores.s3 import S3Bucket, S3EventLog, connect, prepare_bucket, probe_conditional_put
from tests.commands import create
from tests.contract.chains import PLACE, chain, event_of

pytestmark = pytest.mark.integration


@pytest.fixture(params=["directly", "through boto3"])
async def bucket(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[S3Bucket]:
    bucket = await asyncio.to_thread(connect, settings, direct=request.param == "directly")
    await prepare_bucket(bucket)
    yield bucket
    await bucket.close()


class _Raw(BytesIO):
    """A response's body as urllib3 gives it."""

    def stream(self, **_: Any):
        yield self.read()


def _answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Callable[..., AWSResponse]:
    """Return a handler that answers in S3's place, before anything is sent."""
    headers = {"content-length": str(len(body))} | (headers or {})
    return lambda request, **_: AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


def _forge_sending(bucket: S3Bucket, operation: str, handler: Callable[..., AWSResponse], times: int = 1) -> None:
    """Let the handler answer the next requests of an operation."""
    left = times

    def once(**given: Any) -> Any:
        nonlocal left
        left -= 1
        return handler(**given) if left >= 0 else None

    bucket.client.meta.events.register(f"before-send.s3.{operation}", once)


def _forge_answer(bucket: S3Bucket, operation: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Let the request take effect, and change the answer that came."""

    def changing(parsed: dict[str, Any], **_: Any) -> None:
        change(parsed)

    bucket.client.meta.events.register(f"after-call.s3.{operation}", changing)


async def test_a_success_without_etag_is_none(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    _forge_sending(bucket, "PutObject", _answer(200))
    with pytest.raises(StoreUnavailable, match="without ETag, yet nothing stands there"):
        await log.append(event, published_through=UNPUBLISHED)
    assert await log.read(PLACE, 1) is None
    assert await log.append(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)


async def test_a_success_with_another_checksum_is_read_back(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    _forge_answer(bucket, "PutObject", lambda parsed: parsed.update(ChecksumSHA256="x"))
    before = bucket.requests["GetObject"]
    assert await log.append(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)
    assert bucket.requests["GetObject"] == before + 1


async def test_an_acknowledged_write_is_not_read_back(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    before = dict(bucket.requests)
    await log.append(event, published_through=UNPUBLISHED)
    assert bucket.requests == before | {"PutObject": before["PutObject"] + 1}


@pytest.mark.parametrize("status", [409, 412])
async def test_a_refusal_while_the_slot_is_free_is_no_answer(bucket: S3Bucket, status: int):
    log, (event,) = S3EventLog(bucket), chain(1)
    _forge_sending(bucket, "PutObject", _answer(status))
    with pytest.raises(StoreUnavailable, match="yet nothing stands there"):
        await log.append(event, published_through=UNPUBLISHED)
    assert await log.append(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)


async def test_the_own_unanswered_write_is_found_again(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)

    def lost(_: dict[str, Any]) -> None:
        raise ReadTimeoutError(endpoint_url="forged")

    _forge_answer(bucket, "PutObject", lost)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Read timeout"):
            await log.append(event, published_through=UNPUBLISHED)
    bucket.client.meta.events.unregister("after-call.s3.PutObject")
    assert await log.read(PLACE, 1) == StoredEvent(event, UNPUBLISHED)


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_an_error_of_any_kind_is_told_with_what_was_asked(bucket: S3Bucket, status: int):
    log, (event,) = S3EventLog(bucket), chain(1)
    _forge_sending(bucket, "PutObject", _answer(status))
    with pytest.raises(StoreUnavailable, match=r"PutObject events/shop/Product/p1/0*1\.json"):
        await log.append(event, published_through=UNPUBLISHED)


async def test_a_body_cut_off_is_not_an_event(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append(event, published_through=UNPUBLISHED)
    cut = _answer(200, {"etag": '"x"', "content-length": str(len(event.canonical))}, event.canonical[:-10])
    _forge_sending(bucket, "GetObject", cut)
    with pytest.raises(StoreUnavailable):
        await log.read(PLACE, 1)
    assert await log.read(PLACE, 1) == StoredEvent(event, UNPUBLISHED)


async def test_a_truncation_that_hides_its_length_is_not_an_event(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append(event, published_through=UNPUBLISHED)
    _forge_answer(bucket, "GetObject", lambda parsed: parsed.pop("ContentLength"))
    with pytest.raises(StoreUnavailable, match="without Content-Length"):
        await log.read(PLACE, 1)


async def test_bits_that_flip_on_the_way_once_are_read_again(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append(event, published_through=UNPUBLISHED)
    headers = {"etag": '"x"', "x-amz-checksum-sha256": "0" * 43 + "="}
    _forge_sending(bucket, "GetObject", _answer(200, headers, event.canonical))
    assert await log.read(PLACE, 1) == StoredEvent(event, UNPUBLISHED)
    _forge_sending(bucket, "GetObject", _answer(200, headers, event.canonical), times=2)
    with pytest.raises(LogDamaged, match="not those that were written"):
        await log.read(PLACE, 1)


async def test_a_missing_bucket_is_not_a_free_slot(bucket: S3Bucket):
    missing = b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
    _forge_sending(bucket, "GetObject", _answer(404, body=missing))
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        await S3EventLog(bucket).read(PLACE, 1)


async def test_an_event_that_was_deleted_is_damage_and_no_free_slot(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append(event, published_through=UNPUBLISHED)
    key = f"{bucket.prefix}events/{PLACE}/{1:020d}.json"
    await asyncio.to_thread(bucket.client.delete_object, Bucket=bucket.name, Key=key)
    with pytest.raises(LogDamaged, match="was deleted"):
        await log.read(PLACE, 1)


async def test_a_listing_that_does_not_say_if_it_is_all_is_no_answer(bucket: S3Bucket):
    _forge_answer(bucket, "ListObjectsV2", lambda parsed: parsed.pop("IsTruncated"))
    with pytest.raises(StoreUnavailable, match="does not say if it is all"):
        await S3EventLog(bucket).head(PLACE)


async def test_an_s3_that_ignores_conditions_is_refused(bucket: S3Bucket):
    def forget(request: Any, **_: Any) -> None:
        del request.headers["If-None-Match"]

    await probe_conditional_put(bucket)
    bucket.client.meta.events.register("before-sign.s3.PutObject", forget)
    with pytest.raises(StoreUnsafe, match="does not honour If-None-Match"):
        await probe_conditional_put(bucket)
    events = [event_of(Instance(aggregate_id=str(PLACE)), create()) for _ in range(2)]
    told = [await S3EventLog(bucket).append(event, published_through=UNPUBLISHED) for event in events]
    assert told[0] != told[1]  # what the probe protects from


async def test_the_head_of_a_long_log_costs_few_requests(bucket: S3Bucket):
    log = S3EventLog(bucket, keys_per_list_max=4)
    events = chain(60)
    await asyncio.gather(*(log.append(event, published_through=UNPUBLISHED) for event in events))
    before = bucket.requests["ListObjectsV2"]
    assert await log.head(PLACE) == 60
    assert bucket.requests["ListObjectsV2"] - before <= 9
    assert [await log.head(PLACE, after=after) for after in (1, 30, 58, 59, 60)] == [60] * 5

"""S3 when its answers are not what they should be, forged by a proxy in front of the real one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from oncelog.domain.instance import Instance
from oncelog.errors import LogDamaged, StoreUnavailable, StoreUnsafe
from oncelog.ports import UNPUBLISHED, StoredEvent
from oncelog.settings import Settings
from oncelog.stores.s3 import S3Bucket, S3EventLog, connect, prepare_bucket, probe_conditional_put
from tests.commands import create
from tests.contract.chains import PLACE, chain, event_of
from tests.contract.forging_proxy import (
    ForgingProxy,
    answer,
    changed,
    cut_off,
    forging_proxy,
    without_element,
    without_length,
)
from tests.settings import with_server

pytestmark = pytest.mark.integration


CHECKSUM = "x-amz-checksum-sha256"
ABSENT = b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>"


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[ForgingProxy]:
    assert settings.s3.endpoint_url is not None
    async with forging_proxy(settings.s3.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(params=["directly", "through boto3"])
async def bucket(settings: Settings, request: pytest.FixtureRequest, proxy: ForgingProxy) -> AsyncIterator[S3Bucket]:
    behind = with_server(settings, s3={"endpoint_url": proxy.url})
    bucket = await asyncio.to_thread(connect, behind, direct=request.param == "directly")
    await prepare_bucket(bucket)
    yield bucket
    await bucket.close()


async def test_a_success_without_etag_is_none(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    proxy.forge("PutObject", answer(200))
    with pytest.raises(StoreUnavailable, match="without ETag, yet nothing stands there"):
        await log.append_event(event, published_through=UNPUBLISHED)
    assert await log.read_event(PLACE, 1) is None
    assert await log.append_event(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)


async def test_a_success_with_another_checksum_is_read_back(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    proxy.forge("PutObject", changed(proxy, lambda response: response.headers.update({CHECKSUM: "0" * 43 + "="})))
    before = bucket.requests["GetObject"]
    assert await log.append_event(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)
    assert bucket.requests["GetObject"] == before + 1


async def test_an_acknowledged_write_is_not_read_back(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    before = dict(bucket.requests)
    await log.append_event(event, published_through=UNPUBLISHED)
    assert bucket.requests == before | {"PutObject": before["PutObject"] + 1}


@pytest.mark.parametrize("status", [409, 412])
async def test_a_refusal_while_the_slot_is_free_is_no_answer(bucket: S3Bucket, proxy: ForgingProxy, status: int):
    log, (event,) = S3EventLog(bucket), chain(1)
    proxy.forge("PutObject", answer(status))
    with pytest.raises(StoreUnavailable, match="yet nothing stands there"):
        await log.append_event(event, published_through=UNPUBLISHED)
    assert await log.append_event(event, published_through=UNPUBLISHED) == StoredEvent(event, UNPUBLISHED)


async def test_the_own_unanswered_write_is_found_again(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    proxy.forge_always("PutObject", proxy.lose_answer)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"PutObject events/shop/Product/p1/0*1\.json"):
            await log.append_event(event, published_through=UNPUBLISHED)
    proxy.forge_no_more()
    assert await log.read_event(PLACE, 1) == StoredEvent(event, UNPUBLISHED)


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_an_error_of_any_kind_is_told_with_what_was_asked(bucket: S3Bucket, proxy: ForgingProxy, status: int):
    log, (event,) = S3EventLog(bucket), chain(1)
    proxy.forge("PutObject", answer(status))
    with pytest.raises(StoreUnavailable, match=r"PutObject events/shop/Product/p1/0*1\.json"):
        await log.append_event(event, published_through=UNPUBLISHED)


async def test_a_body_cut_off_is_not_an_event(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append_event(event, published_through=UNPUBLISHED)
    proxy.forge("GetObject", cut_off({"etag": '"x"'}, event.canonical[:-10], length=len(event.canonical)), times=2)
    with pytest.raises(StoreUnavailable):
        await log.read_event(PLACE, 1)
    proxy.forge_no_more()
    assert await log.read_event(PLACE, 1) == StoredEvent(event, UNPUBLISHED)


async def test_a_truncation_that_hides_its_length_is_not_an_event(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append_event(event, published_through=UNPUBLISHED)
    proxy.forge("GetObject", without_length({"etag": '"x"'}, event.canonical[:-10]))
    with pytest.raises(StoreUnavailable, match="without Content-Length"):
        await log.read_event(PLACE, 1)


async def test_bits_that_flip_on_the_way_once_are_read_again(bucket: S3Bucket, proxy: ForgingProxy):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append_event(event, published_through=UNPUBLISHED)
    flipped = answer(200, {"etag": '"x"', CHECKSUM: "0" * 43 + "="}, event.canonical)
    proxy.forge("GetObject", flipped)
    assert await log.read_event(PLACE, 1) == StoredEvent(event, UNPUBLISHED)
    proxy.forge("GetObject", flipped, times=2)
    with pytest.raises(LogDamaged, match="not those that were written"):
        await log.read_event(PLACE, 1)


async def test_a_missing_bucket_is_not_a_free_slot(bucket: S3Bucket, proxy: ForgingProxy):
    missing = b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
    proxy.forge("GetObject", answer(404, body=missing))
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        await S3EventLog(bucket).read_event(PLACE, 1)


async def test_an_event_that_was_deleted_is_damage_and_no_free_slot(bucket: S3Bucket):
    log, (event,) = S3EventLog(bucket), chain(1)
    await log.append_event(event, published_through=UNPUBLISHED)
    key = f"{bucket.prefix}events/{PLACE}/{1:020d}.json"
    await asyncio.to_thread(bucket.client.delete_object, Bucket=bucket.name, Key=key)
    with pytest.raises(LogDamaged, match="was deleted"):
        await log.read_event(PLACE, 1)


async def test_a_listing_that_does_not_say_if_it_is_all_is_no_answer(bucket: S3Bucket, proxy: ForgingProxy):
    proxy.forge("ListObjectsV2", changed(proxy, without_element("IsTruncated")))
    with pytest.raises(StoreUnavailable, match="does not say if it is all"):
        await S3EventLog(bucket).last_sequence_number(PLACE)


async def test_an_s3_that_ignores_conditions_is_refused(bucket: S3Bucket, proxy: ForgingProxy):
    objects: dict[str, bytes] = {}

    async def take(request: web.Request) -> web.Response:
        objects[request.path] = await request.read()
        return web.Response(headers={"etag": '"x"', CHECKSUM: request.headers[CHECKSUM]})

    async def give(request: web.Request) -> web.Response:
        if request.path not in objects:
            return web.Response(status=404, body=ABSENT)
        return web.Response(headers={"etag": '"x"'}, body=objects[request.path])

    await probe_conditional_put(bucket)
    proxy.forge_always("PutObject", take)
    proxy.forge_always("GetObject", give)
    with pytest.raises(StoreUnsafe, match="does not honour If-None-Match"):
        await probe_conditional_put(bucket)
    events = [event_of(Instance(aggregate_id=str(PLACE)), create()) for _ in range(2)]
    told = [await S3EventLog(bucket).append_event(event, published_through=UNPUBLISHED) for event in events]
    assert told[0] != told[1]  # the probe protects from this


async def test_the_head_of_a_long_log_costs_few_requests(bucket: S3Bucket):
    log = S3EventLog(bucket, keys_per_list_max=4)
    events = chain(60)
    await asyncio.gather(*(log.append_event(event, published_through=UNPUBLISHED) for event in events))
    before = bucket.requests["ListObjectsV2"]
    assert await log.last_sequence_number(PLACE) == 60
    assert bucket.requests["ListObjectsV2"] - before <= 9
    assert [await log.last_sequence_number(PLACE, after=after) for after in (1, 30, 58, 59, 60)] == [60] * 5

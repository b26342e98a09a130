"""Requests past boto3's layers, on a server that plays S3: behaviour when something is out of the ordinary."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from oncelog.errors import ContainerUnusable, StoreUnavailable
from oncelog.settings import S3Settings, Settings
from oncelog.stores.s3 import S3Bucket, connect, connecting, direct

Answering = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class PlayedS3:
    """Acknowledges every PUT. ``answers`` come first, one each; ``asked`` is what arrived."""

    url: str = ""
    asked: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: list[Answering] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.read())
        if self.answers:
            return await self.answers.pop(0)(request)
        checksum = request.headers["x-amz-checksum-sha256"]
        return web.Response(headers={"ETag": '"e"', "x-amz-checksum-sha256": checksum})

    def through_boto3(self) -> list[bool]:
        """Return for each request whether boto3 sent it, which counts attempts in a header."""
        return ["amz-sdk-request" in request.headers for request in self.asked]


async def _serve(played: PlayedS3, certificate: ssl.SSLContext | None = None) -> web.AppRunner:
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", played.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=certificate)
    await site.start()
    port = runner.addresses[0][1]
    played.url = f"{'https' if certificate else 'http'}://localhost:{port}"
    return runner


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
async def s3() -> AsyncIterator[PlayedS3]:
    played = PlayedS3()
    runner = await _serve(played)
    yield played
    await runner.cleanup()


async def _put(url: str, *bodies: bytes) -> None:
    """Write each under the same name, one after the other, on one client."""
    bucket = await _connected(url)
    try:
        for body in bodies:
            await bucket.put("a b/ü.json", body)
    finally:
        await bucket.close()


async def _connected(url: str) -> S3Bucket:
    return await asyncio.to_thread(connect, Settings(s3=S3Settings(endpoint_url=url, bucket="b")))


async def test_a_key_is_sent_as_boto3_would_send_it(s3: PlayedS3):
    await _put(s3.url, b"1", b"2")
    assert s3.through_boto3() == [False, False]
    bucket = await _connected(s3.url)
    url = bucket.client.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "a b/ü.json"})
    await bucket.close()
    assert {s3.url + request.raw_path for request in s3.asked} == {url.partition("?")[0]}
    assert s3.bodies == [b"1", b"2"]


async def test_redirected_request_is_repeated_through_boto3(s3: PlayedS3):
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://elsewhere.test/"})

    s3.answers.append(elsewhere)
    await _put(s3.url, b"1", b"2")
    assert s3.through_boto3() == [False, True, False]
    assert s3.bodies == [b"1", b"1", b"2"]


async def test_a_large_body_leaves_through_boto3(s3: PlayedS3):
    largest = direct.DIRECT_BYTES_MAX
    await _put(s3.url, b"x" * largest, b"x" * (largest + 1))
    assert s3.through_boto3() == [False, True]
    assert [len(body) for body in s3.bodies] == [largest, largest + 1]


async def test_a_proxy_is_left_to_boto3(s3: PlayedS3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", s3.url)
    monkeypatch.setenv("no_proxy", "")
    await _put("http://s3.test:9000", b"1")
    assert s3.through_boto3() == [True]
    assert s3.asked[0].headers["host"] == "s3.test:9000"


async def test_a_connection_closed_while_idle_is_replaced(s3: PlayedS3):
    bucket = await _connected(s3.url)
    await bucket.put("k", b"1")
    transport = s3.asked[0].transport
    assert transport is not None
    transport.abort()
    await bucket.put("k", b"2")
    assert s3.bodies == [b"1", b"2"]
    await bucket.close()


@pytest.mark.parametrize("limit", ["reading", "writing"])
async def test_an_answer_that_does_not_come_is_none(s3: PlayedS3, monkeypatch: pytest.MonkeyPatch, limit: str):
    if limit == "reading":
        monkeypatch.setattr(connecting, "READ_TIMEOUT_S", 0.05)
    else:
        monkeypatch.setattr(direct, "WRITE_TIMEOUT_S", 0.05)
    ended = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    s3.answers.append(silent)
    try:
        with pytest.raises(StoreUnavailable, match=r"(?i)time-?out"):
            await _put(s3.url, b"1")
    finally:
        ended.set()


async def test_nobody_there_is_unavailable(unused_tcp_port: int):
    with pytest.raises(StoreUnavailable, match=f"S3 at http://localhost:{unused_tcp_port}"):
        await _put(f"http://localhost:{unused_tcp_port}", b"1")


async def test_missing_credentials_name_the_bucket(s3: PlayedS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(ContainerUnusable, match="set AWS_ACCESS_KEY_ID"):
        await _put(s3.url, b"1")


async def test_credentials_that_expire_are_refreshed(s3: PlayedS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    given = json.dumps({"Version": 1, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": soon})
    program = tmp_path / "credentials.py"
    program.write_text(
        f"import json, os\nprint(json.dumps(json.loads({given!r}) | {{'AccessKeyId': 'of-' + str(os.getpid())}}))\n"
    )
    configuration = tmp_path / "config"
    configuration.write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    await _put(s3.url, b"1", b"2")
    signed_with = [request.headers["authorization"].partition("/")[0] for request in s3.asked]
    assert len(set(signed_with)) == 2
    assert {request.headers["x-amz-security-token"] for request in s3.asked} == {"t"}


async def test_over_tls_it_trusts_whom_boto3_would_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    authority, played = trustme.CA(), PlayedS3()
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(certificate)
    runner = await _serve(played, certificate)
    try:
        with pytest.raises(StoreUnavailable, match="certificate"):
            await _put(played.url, b"1")
        bundle = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        await _put(played.url, b"1")
    finally:
        await runner.cleanup()
    assert played.through_boto3() == [False]

"""Redis, S3 and Elasticsearch by TLS and with credentials, and what each says where one is wrong."""

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from oncelog.errors import ContainerUnusable, StoreUnavailable
from oncelog.ports import StreamProgress, Watermark
from oncelog.settings import ElasticsearchSettings, Settings
from oncelog.stores.elasticsearch import ElasticsearchServer
from oncelog.stores.redis.connecting import new_client
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.s3.opening import open_bucket
from stack import Stack
from stack.ports import HOST
from stack.security import Security
from tests.contract.chains import PLACE
from tests.contract.topics import first_generations
from tests.settings import settings_from, with_server

pytestmark = pytest.mark.integration

CANARY = "canary-8d02"


@pytest.fixture(scope="module")
def secured() -> Iterator[Stack]:
    with Stack.temporary(["redis", "s3"], secured=True) as stack:
        yield stack


@contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def other_ca(tmp_path: Path) -> str:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    return str(tmp_path / "other.pem")


def _assert_words(error: StoreUnavailable, reason: str, remedy: str) -> None:
    assert isinstance(error, ContainerUnusable), error
    assert str(error.reason) == reason
    assert remedy in error.message
    assert "is it up" not in error.message
    assert CANARY not in f"{error!r} {error.details}"


async def test_redis_answers_by_tls_with_a_user(secured: Stack):
    security = Security(secured.data / "certificates")
    settings = settings_from(secured.environment(), namespace="t-tls")
    certificate = {"ssl_certfile": str(security.client), "ssl_keyfile": str(security.client_key)}
    for given in (settings, with_server(settings, redis=certificate)):
        server = RedisServer.connect(given)
        await server.ping()
        await server.close()


@pytest.mark.parametrize(
    ("given", "reason", "remedy"),
    [
        ({"password": CANARY}, "credentials", "mend ONCELOG_REDIS_USERNAME and ONCELOG_REDIS_PASSWORD"),
        ({"username": None, "password": None}, "credentials", "mend ONCELOG_REDIS_USERNAME"),
        ({"ssl_ca_certs": None}, "tls", "set ONCELOG_REDIS_SSL_CA_CERTS to the PEM file"),
        ({"ssl_ca_certs": "other"}, "tls", "set ONCELOG_REDIS_SSL_CA_CERTS to the PEM file"),
    ],
)
async def test_redis_says_which_setting_to_mend(
    secured: Stack, other_ca: str, given: dict[str, Any], reason: str, remedy: str
):
    if given.get("ssl_ca_certs") == "other":
        given = {"ssl_ca_certs": other_ca}
    settings = with_server(settings_from(secured.environment(), namespace="t-tls"), redis=given)
    server = RedisServer.connect(settings)
    with pytest.raises(StoreUnavailable) as caught:
        await server.ping()
    await server.close()
    _assert_words(caught.value, reason, remedy)


async def test_s3_is_reached_by_its_own_ca(secured: Stack):
    variables = secured.environment()
    settings = settings_from(variables, namespace="t-tls")
    with _variables(variables):
        bucket = await open_bucket(settings)
        assert await bucket.put_if_absent("some", b"body") is None
        await bucket.close()
        encrypted = with_server(settings, s3={"server_side_encryption": "AES256"})
        sent: list[Mapping[str, Any]] = []
        bucket = await open_bucket(encrypted)
        bucket.client.meta.events.register(
            "before-send.s3.PutObject", lambda request, **_: sent.append(request.headers)
        )
        await bucket.put("small", b"body")
        await bucket.put("large", b"b" * 1_000_000)
        await bucket.close()
    assert [headers["x-amz-server-side-encryption"] for headers in sent] == [b"AES256"] * 2


@pytest.mark.parametrize(
    ("variables", "reason", "remedy"),
    [
        ({"AWS_CA_BUNDLE": "other"}, "tls", "set AWS_CA_BUNDLE to the PEM file"),
        ({"AWS_SECRET_ACCESS_KEY": CANARY}, "", "check the keys"),
    ],
)
async def test_s3_says_which_variable_to_mend(
    secured: Stack, other_ca: str, variables: dict[str, str], reason: str, remedy: str
):
    if variables.get("AWS_CA_BUNDLE") == "other":
        variables = {"AWS_CA_BUNDLE": other_ca}
    settings = settings_from(secured.environment(), namespace="t-tls")
    with _variables({**secured.environment(), **variables}), pytest.raises(Exception, match=remedy) as caught:
        await open_bucket(settings)
    assert CANARY not in f"{caught.value!r}"
    assert "is it up" not in str(caught.value)
    assert reason in str(caught.value)


@asynccontextmanager
async def _https(url: str, authorization: str) -> AsyncIterator[tuple[str, trustme.CA, trustme.LeafCert]]:
    """Two nodes with TLS and credentials before a real Elasticsearch, whose distribution here has no security."""

    async def passed(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != authorization:
            error = {"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401}
            return web.json_response(error, status=401, headers={"X-Elastic-Product": "Elasticsearch"})
        headers = {name: value for name, value in request.headers.items() if name in ("Accept", "Content-Type")}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, url + request.path_qs, data=await request.read(), headers=headers
            ) as answer,
        ):
            kept = {"Content-Type": answer.headers["Content-Type"], "X-Elastic-Product": "Elasticsearch"}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", passed)
    runner = web.AppRunner(app)
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    yield ",".join(f"https://{HOST}:{address[1]}" for address in runner.addresses), authority, certificate
    await runner.cleanup()


async def _health(**given: Any) -> None:
    server = ElasticsearchServer(Settings(elasticsearch=ElasticsearchSettings(**given)))
    try:
        await server.read([("nowhere", "1")])
    finally:
        await server.close()


async def test_elasticsearch_is_reached_by_https(settings: Settings, tmp_path: Path, other_ca: str):
    async with _https(settings.elasticsearch.url, "ApiKey right") as (url, authority, certificate):
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        ca = str(tmp_path / "ca.pem")
        der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        fingerprint = hashlib.sha256(der).hexdigest()
        await _health(url=url, ca_certs=ca, api_key="right")
        await _health(url=url, ssl_assert_fingerprint=fingerprint, api_key="right")
        for given, reason, remedy in (
            ({"ca_certs": ca, "api_key": CANARY}, "credentials", "mend ONCELOG_ELASTICSEARCH_API_KEY"),
            ({"ca_certs": other_ca, "api_key": CANARY}, "tls", "set ONCELOG_ELASTICSEARCH_CA_CERTS"),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                await _health(url=url, **given)
            _assert_words(caught.value, reason, remedy)
    basic = f"Basic {base64.b64encode(b'elastic:right').decode()}"
    async with _https(settings.elasticsearch.url, basic) as (url, authority, _):
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        await _health(url=url.replace("https://", "https://elastic:right@"), ca_certs=str(tmp_path / "ca.pem"))


#: The rights of docs/operating/least-privilege.md.
REDIS_RULES = (
    "~oncelog:* +ping +info +time +hello +evalsha +script|load +del +expire +exists +get +hdel +hget "
    "+hgetall +hmget +hset +hsetnx +pexpire +pttl +set +zadd +zcard +zrange +zrank +zrem +zscore"
)


async def test_least_rights_at_redis_are_enough(secured: Stack):
    settings = settings_from(secured.environment(), namespace="t-least")
    admin, _ = new_client(settings.redis, connect_timeout_s=30, answer_timeout_s=30)
    await admin.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">poor", *REDIS_RULES.split())
    await admin.aclose()
    poor = RedisServer.connect(with_server(settings, redis={"username": "worker", "password": "poor"}))
    leases = RedisLeases(poor, generations=first_generations, lease_ms=60_000)
    (first,) = await leases.acquire_leases([PLACE], "a")
    (second,) = await leases.acquire_leases([PLACE], "b")
    assert (type(first).__name__, type(second).__name__) == ("Lease", "Waiting")
    await leases.save_progress([StreamProgress(PLACE, published=Watermark(1, 1), release=True)], "a")
    assert (await poor.about()).version
    await poor.probe_scripts()
    await poor.delete(f"{poor.prefix}probe")
    with pytest.raises(ContainerUnusable, match="forbidden"):
        await poor.fields("others:key")
    await poor.close()

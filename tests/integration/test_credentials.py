"""Credentials that expire and come back: worker and projector wait, say why, and go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from oncelog.domain.results import Outcome
from oncelog.settings import Settings
from tests.commands import create, update
from tests.integration.gates import gate, refusal
from tests.integration.installation import Installation, WorkerProcess
from tests.settings import with_server

pytestmark = pytest.mark.integration

REFUSALS_MIN = 5
UNTIL_S = 180.0

EXPIRED_S3 = refusal(
    "403 Forbidden",
    "application/xml",
    b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>",
)
EXPIRED_ELASTICSEARCH = refusal(
    "401 Unauthorized",
    "application/json",
    b'{"error":{"type":"security_exception","reason":"unable to authenticate user"},"status":401}',
)


@dataclass(frozen=True)
class Credentials:
    """One server's. ``address`` leads to it with them; ``refusals`` counts what it has refused so far."""

    server: str
    setting: str
    address: str
    store: str
    expire: Callable[[], Awaitable[None]]
    renew: Callable[[], Awaitable[None]]
    refusals: Callable[[], Awaitable[int]]


@asynccontextmanager
async def _gated(server: str, setting: str, url: str, store: str, answer: bytes) -> AsyncIterator[Credentials]:
    async with gate(url.rpartition("//")[2], answer) as opened:

        async def expire() -> None:
            opened.shut()

        async def renew() -> None:
            opened.open()

        async def refusals() -> int:
            return opened.refused

        yield Credentials(server, setting, f"http://{opened.address}", store, expire, renew, refusals)


@asynccontextmanager
async def _redis_user(settings: Settings) -> AsyncIterator[Credentials]:
    """A user of Redis of this test's own, whose password is changed and changed back."""
    user, url = settings.namespace, settings.redis.url

    async with Redis.from_url(url) as redis:
        await redis.execute_command("ACL", "SETUSER", user, "on", "~*", "+@all", ">right")
        await redis.execute_command("ACL", "LOG", "RESET")

        async def expire() -> None:
            await redis.execute_command("ACL", "SETUSER", user, "resetpass", ">other")
            await redis.execute_command("CLIENT", "KILL", "USER", user)

        async def renew() -> None:
            await redis.execute_command("ACL", "SETUSER", user, "resetpass", ">right")

        async def refusals() -> int:
            log: Any = await redis.acl_log()
            return sum(int(entry["count"]) for entry in log if entry["username"] == user)

        authority = f"redis://{user}:right@"
        yield Credentials("redis", "url", url.replace("redis://", authority), "Redis", expire, renew, refusals)
        await redis.execute_command("ACL", "DELUSER", user)


@pytest.fixture(params=["s3", "elasticsearch", "redis"])
async def credentials(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Credentials]:
    if request.param == "redis":
        made = _redis_user(settings)
    elif request.param == "s3":
        assert settings.s3.endpoint_url
        made = _gated("s3", "endpoint_url", settings.s3.endpoint_url, "S3", EXPIRED_S3)
    else:
        made = _gated("elasticsearch", "url", settings.elasticsearch.url, "Elasticsearch", EXPIRED_ELASTICSEARCH)
    async with made as opened:
        yield opened


@pytest.fixture
async def installation(
    settings: Settings, environment: Mapping[str, str], credentials: Credentials, tmp_path: Path
) -> AsyncIterator[Installation]:
    server, setting = credentials.server, credentials.setting
    variables = {f"ONCELOG_{server}_{setting}".upper(): credentials.address}
    leading = with_server(settings, **{server: {setting: credentials.address}})
    async with Installation.opened(leading, {**environment, **variables}, tmp_path) as opened:
        yield opened


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(UNTIL_S):
        while not await condition():
            await asyncio.sleep(0.2)


async def test_programs_wait_for_credentials_and_go_on(installation: Installation, credentials: Credentials):
    worker = await (await installation.worker_process()).ready()
    projector = await (await installation.projector_process("documents")).ready()
    client = installation.client
    await client.submit(create("before"))
    await credentials.expire()
    commands = [update("before"), create("after")]
    handles = [await client.start(command) for command in commands]

    async def enough_refused() -> bool:
        return await credentials.refusals() >= REFUSALS_MIN

    await _until(enough_refused)
    await _until(_says(worker, f"{credentials.store} at"))
    if credentials.store == "S3":
        await _until(_says(projector, "S3 at"))
    await credentials.renew()
    for handle in handles:
        async with asyncio.timeout(UNTIL_S):
            assert (await handle.result()).outcome is Outcome.APPLIED
    for process in (worker, projector):
        assert process.process.returncode is None
        assert "Traceback" not in process.output()
        assert "right@" not in process.output()
        assert await process.stop() == 0
    await installation.check()


@pytest.mark.parametrize("credentials", ["s3"], indirect=True)
async def test_healthy_worker_answers_for_a_refused_one(
    installation: Installation, credentials: Credentials, settings: Settings
):
    healthy = str(settings.s3.endpoint_url)
    await (await installation.worker_process()).ready()
    await (await installation.worker_process(ONCELOG_S3_ENDPOINT_URL=healthy)).ready()
    client = installation.client
    await client.submit(create("before"))
    await credentials.expire()
    commands = [update("before"), *(create(f"after-{number}") for number in range(8))]
    handles = [await client.start(command) for command in commands]
    for handle in handles:  # each before the credentials are renewed
        async with asyncio.timeout(UNTIL_S):
            assert (await handle.result()).outcome is Outcome.APPLIED
    assert await credentials.refusals() > 0
    await credentials.renew()
    await installation.check()


def _says(process: WorkerProcess, store: str) -> Callable[[], Awaitable[bool]]:
    """Return whether the process has said in one line that the store's credentials are not taken."""

    async def says() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(store in line and "credentials" in line for line in process.output().splitlines())
        return False

    return says

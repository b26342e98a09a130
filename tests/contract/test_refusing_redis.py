"""Redis that refuses: each answer is told apart, and what waits goes on once it is mended."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from oncelog.errors import ContainerUnusable, StoreUnavailable, UnusableReason
from oncelog.settings import Settings
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.refusals import refused
from oncelog.stores.redis.server import RedisServer
from tests.contract.chains import PLACE
from tests.contract.topics import first_generations
from tests.settings import with_server


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AuthenticationError("Authentication required.", status_code="NOAUTH"), UnusableReason.CREDENTIALS),
        (AuthenticationError("invalid username-password pair", status_code="WRONGPASS"), UnusableReason.CREDENTIALS),
        (NoPermissionError("no permissions to run 'evalsha'", status_code="NOPERM"), UnusableReason.FORBIDDEN),
        (ResponseError("The user executing the script can't run this command"), UnusableReason.FORBIDDEN),
        (OutOfMemoryError("command not allowed", status_code="OOM"), UnusableReason.OUT_OF_MEMORY),
        (ResponseError("Error running script (call to f): -OOM command not allowed"), UnusableReason.OUT_OF_MEMORY),
        (ReadOnlyError("You can't write against a replica", status_code="READONLY"), UnusableReason.READ_ONLY),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), UnusableReason.READ_ONLY),
        (ResponseError("DB index is out of range"), UnusableReason.MISCONFIGURED),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), None),
        (ResponseError("LOADING Redis is loading the dataset in memory"), None),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), None),
        (RedisConnectionError("max number of clients reached"), None),
        (OSError("connection reset"), None),
    ],
)
def test_redis_answers_are_told_apart(error: Exception, reason: UnusableReason | None):
    found = refused(error, "Redis at x", "take_turn k")
    assert isinstance(found, StoreUnavailable)
    assert (found.reason if isinstance(found, ContainerUnusable) else None) == reason


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[Redis]:
    async with Redis.from_url(settings.redis.url) as redis:
        yield redis
        await redis.execute_command("ACL", "DELUSER", settings.namespace)


@pytest.mark.integration
async def test_a_lost_password_waits_until_it_is_back(settings: Settings, admin: Redis):
    user, scheme = settings.namespace, "redis://"
    class_schema = ("on", "~*", "+@all")
    await admin.execute_command("ACL", "SETUSER", user, *class_schema, ">right")
    url = settings.redis.url.replace(scheme, f"{scheme}{user}:right@")
    server = RedisServer.connect(with_server(settings, redis={"url": url}))
    leases = RedisLeases(server, generations=first_generations, lease_ms=200)
    await leases.acquire_leases([PLACE], "a")
    await admin.execute_command("ACL", "SETUSER", user, "resetpass", ">other")
    await admin.execute_command("CLIENT", "KILL", "USER", user)
    for _ in range(2):
        with pytest.raises(ContainerUnusable, match="ONCELOG_REDIS_URL") as refusal:
            await leases.acquire_leases([PLACE], "a")
        assert refusal.value.reason is UnusableReason.CREDENTIALS
        assert "right" not in str(refusal.value)
    await admin.execute_command("ACL", "SETUSER", user, "resetpass", ">right")
    await leases.acquire_leases([PLACE], "a")
    await admin.execute_command("ACL", "SETUSER", user, "-evalsha", "-eval")
    with pytest.raises(ContainerUnusable) as forbidden:
        await leases.acquire_leases([PLACE], "a")
    assert forbidden.value.reason is UnusableReason.FORBIDDEN
    await server.close()

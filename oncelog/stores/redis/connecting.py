"""Making the client: of one server, of the primary that Sentinels tell of, or of a Redis Cluster."""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from oncelog.errors import SettingsInvalid
from oncelog.settings import RedisSettings
from oncelog.settings.addresses import revealed
from oncelog.stores.redis.refusals import TLS
from oncelog.stores.tls import client_context

CONNECTIONS_MAX = 64


def new_client(
    settings: RedisSettings, *, connect_timeout_s: float, answer_timeout_s: float
) -> tuple[Redis | RedisCluster, str]:
    """Return a client that has sent nothing yet, and the name of its server for messages; raises SettingsInvalid."""
    options: dict[str, Any] = {"socket_connect_timeout": connect_timeout_s, "socket_timeout": answer_timeout_s}
    options |= {"username": settings.username, "password": revealed(settings.password)}
    if settings.url.startswith("rediss:"):
        options |= _tls(settings)
    try:
        address = parse_url(settings.url)
        where = str(address.get("path") or f"{address.get('host', 'localhost')}:{address.get('port', 6379)}")
        if settings.cluster:
            return RedisCluster.from_url(settings.url, **options), f"Redis Cluster at {where}"
        options["retry"] = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        if settings.sentinels:
            return _of_sentinels(settings, options, database=int(address.get("db", 0)))
        pool = BlockingConnectionPool.from_url(
            settings.url, max_connections=CONNECTIONS_MAX, timeout=answer_timeout_s, **options
        )
    except ValueError as error:
        raise SettingsInvalid(f"ONCELOG_REDIS_URL: {error}; expected redis://host:port/database") from error
    return Redis.from_pool(pool), f"Redis at {where}"


def _of_sentinels(settings: RedisSettings, options: dict[str, Any], *, database: int) -> tuple[Redis, str]:
    addresses = [server.strip().rpartition(":") for server in (settings.sentinels or "").split(",")]
    if settings.url.startswith("rediss:"):
        options = {**options, "ssl": True}
    own = {name: value for name, value in options.items() if name not in ("username", "password")}
    own |= {"username": settings.sentinel_username, "password": revealed(settings.sentinel_password)}
    sentinels = Sentinel(
        [(host.strip("[]"), int(port)) for host, _, port in addresses], sentinel_kwargs=own, db=database, **options
    )
    client: Redis = sentinels.master_for(settings.sentinel_service, max_connections=4 * CONNECTIONS_MAX)
    return client, f"Redis {settings.sentinel_service} of Sentinels at {settings.sentinels}"


def _tls(settings: RedisSettings) -> dict[str, Any]:
    """Return the options of redis-py, which reads the files at each connection; raises SettingsInvalid."""
    client_context(TLS, ca=settings.ssl_ca_certs, certificate=settings.ssl_certfile, key=settings.ssl_keyfile)
    options = {
        "ssl_ca_certs": settings.ssl_ca_certs,
        "ssl_certfile": settings.ssl_certfile,
        "ssl_keyfile": settings.ssl_keyfile,
    }
    return {name: value for name, value in options.items() if value}

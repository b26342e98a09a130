"""Redis: appends every write to disk, and refuses writes rather than forget keys when memory is full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import REDIS
from stack.security import USER, Security
from stack.servers.definition import Command, Definition, Location, plain_environment

TIMEOUT_S = 2.0
USER_VARIABLE, PASSWORD_VARIABLE = "ONCELOG_REDIS_USERNAME", "ONCELOG_REDIS_PASSWORD"
CA_VARIABLE = "ONCELOG_REDIS_SSL_CA_CERTS"


def tls(security: Security) -> dict[str, str]:
    """The settings of TLS; a client may show a certificate and need not."""
    return {
        "tls-cert-file": str(security.server),
        "tls-key-file": str(security.server_key),
        "tls-ca-cert-file": str(security.ca),
        "tls-auth-clients": "optional",
    }


class Redis(Definition):
    """One Redis server."""

    name = "redis"
    program = REDIS
    ports: ClassVar = {"redis": 6379}
    address_variable = "ONCELOG_REDIS_URL"

    def prepare(self, location: Location) -> Command:
        """Everything is said on the command line."""
        location.data.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(location.ports["redis"]),
            "bind": HOST,
            "dir": str(location.data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "set-proc-title": "no",  # it would overwrite the environment that marks the process as ours
        }
        if location.security is not None:
            users = location.folder / "users.acl"
            users.write_text(f"user default off\nuser {USER} on ~* &* +@all >{location.security.password}\n")
            settings |= {"port": "0", "tls-port": settings["port"], "aclfile": str(users)} | tls(location.security)
        argv = [str(location.program)]
        for key, value in settings.items():
            argv += [f"--{key}", value]
        return Command(argv, plain_environment())

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Database 0."""
        return {self.address_variable: f"redis://{HOST}:{ports['redis']}/0"}

    def credentials(self, ports: Mapping[str, int], security: Security) -> dict[str, str]:
        """A user of Redis' access control lists, over TLS."""
        return {
            self.address_variable: f"rediss://{HOST}:{ports['redis']}/0",
            USER_VARIABLE: USER,
            PASSWORD_VARIABLE: security.password,
            CA_VARIABLE: str(security.ca),
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """PING, past AUTH where the URL has a password; a server that still loads its data is not well yet."""
        import redis  # takes long, and most commands of the stack check no server
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        url = environment[self.address_variable]
        once = Retry(NoBackoff(), 0)
        options: dict[str, Any] = {"ssl_ca_certs": environment.get(CA_VARIABLE)} if url.startswith("rediss:") else {}
        if USER_VARIABLE in environment:
            options |= {"username": environment[USER_VARIABLE], "password": environment[PASSWORD_VARIABLE]}
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, retry=once, protocol=2, **options) as client:
            try:
                client.ping()
            except redis.RedisError as error:
                raise UnreachableError(f"Redis does not answer PING: {error}") from error

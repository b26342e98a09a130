"""One file per server: how it is configured, started and asked whether it is well.

This code knows its server's protocol and nothing of the rest of the stack; it imports the standard library and the
modules below it in `stack` only.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.errors import UsageError
from stack.servers.definition import Command, Definition, Location
from stack.servers.elasticsearch import Elasticsearch
from stack.servers.kafka import Kafka
from stack.servers.postgresql import PostgreSQL
from stack.servers.prometheus import Prometheus
from stack.servers.redis import Redis
from stack.servers.s3 import S3
from stack.servers.temporal import Temporal
from stack.servers.toxiproxy import Toxiproxy

DEFAULT: tuple[Definition, ...] = (Temporal(), Redis(), Kafka(), Elasticsearch(), S3())
"""The servers that `up` starts."""

ON_DEMAND: tuple[Definition, ...] = (Toxiproxy(), PostgreSQL(), Prometheus())
"""The servers that `up --with` adds and `up --only` may name."""

BY_NAME: dict[str, Definition] = {definition.name: definition for definition in (*DEFAULT, *ON_DEMAND)}


def choose(only: Sequence[str] | None) -> list[Definition]:
    """The definitions of the servers named, or of the default set; raises `UsageError` for an unknown name."""
    if only is None:
        return list(DEFAULT)
    unknown = [name for name in only if name not in BY_NAME]
    if unknown or not only:
        raise UsageError(f"unknown server {', '.join(unknown) or '(none named)'}; there are: {', '.join(BY_NAME)}")
    return [BY_NAME[name] for name in dict.fromkeys(only)]


__all__ = ["BY_NAME", "DEFAULT", "ON_DEMAND", "Command", "Definition", "Location", "choose"]

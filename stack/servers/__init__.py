"""One file per server: how it is configured, started and asked whether it is well.

This code knows its server's protocol and nothing of the rest of the stack; it imports the standard library and the
modules below it in `stack` only.
"""

from __future__ import annotations

from stack.servers.definition import Command, Definition, Location
from stack.servers.elasticsearch import Elasticsearch
from stack.servers.kafka import Kafka
from stack.servers.postgresql import PostgreSQL
from stack.servers.redis import Redis
from stack.servers.s3 import S3
from stack.servers.temporal import Temporal
from stack.servers.toxiproxy import Toxiproxy

DEFAULT: tuple[Definition, ...] = (Temporal(), Redis(), Kafka(), Elasticsearch(), S3())
"""The servers that `up` starts."""

ON_DEMAND: tuple[Definition, ...] = (Toxiproxy(), PostgreSQL())
"""The servers that `up --only` may name besides."""

BY_NAME: dict[str, Definition] = {definition.name: definition for definition in (*DEFAULT, *ON_DEMAND)}

__all__ = ["BY_NAME", "DEFAULT", "ON_DEMAND", "Command", "Definition", "Location"]

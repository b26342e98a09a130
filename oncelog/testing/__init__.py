"""Test doubles for applications: every server in memory, and Temporal with a clock that skips.

``OncelogEnvironment`` runs the real workflows, activities and domain. ``MemoryServers`` in place of S3, Redis, Kafka,
Elasticsearch and the graph; a test makes each of them unavailable, slow or forgetful. The twins pass the same contract
tests as the real servers.
"""

from oncelog.testing.environment import OncelogEnvironment
from oncelog.testing.servers import MemoryServers

__all__ = ["MemoryServers", "OncelogEnvironment"]

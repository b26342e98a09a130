"""Test doubles for applications: every server in memory, and Temporal with a clock that skips.

``OncelogEnvironment`` runs the real workflows, activities and domain. ``MemoryServers`` in place of S3, Redis, Kafka,
Elasticsearch and the graph; a test makes each of them unavailable, slow or forgetful. The twins pass the same contract
tests as the real servers. ``given`` tests an aggregate of one's own without any server.
"""

from oncelog.domain.aggregates import registered
from oncelog.domain.aggregates.contract import check_contract, check_decisions, commands_of
from oncelog.testing.domains import given
from oncelog.testing.environment import OncelogEnvironment
from oncelog.testing.servers import MemoryServers

__all__ = [
    "MemoryServers",
    "OncelogEnvironment",
    "check_contract",
    "check_decisions",
    "commands_of",
    "given",
    "registered",
]

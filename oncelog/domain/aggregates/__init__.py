"""Aggregates of one's own: commands, events, state, ``decide`` and ``evolve`` in Python (docs/own-domain.md)."""

from oncelog.domain.aggregates.aggregate_registry import Registry, load_aggregates, registered, registry
from oncelog.domain.aggregates.definition import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    InstanceId,
    Refused,
)
from oncelog.domain.aggregates.reading import own_event, own_state

__all__ = [
    "Aggregate",
    "DecisionContext",
    "DomainCommand",
    "DomainEvent",
    "DomainState",
    "InstanceId",
    "Refused",
    "Registry",
    "load_aggregates",
    "own_event",
    "own_state",
    "registered",
    "registry",
]

"""The parts of the append protocol that single commands and bulk commands share."""

from dataclasses import dataclass

from oncelog.ports import Ports
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.write.command_outcomes import CommandOutcomes
from oncelog.write.event_writer import EventWriter
from oncelog.write.judge import Judge
from oncelog.write.lease_queue import LeaseQueue
from oncelog.write.publication import Publication
from oncelog.write.references import References
from oncelog.write.stream_head import StreamHeads
from oncelog.write.strictness import Strictness
from oncelog.write.unique.claims import UniqueClaims


@dataclass(frozen=True)
class WritePath:
    """One process's parts. They share the states that the process has read and written, and its leases."""

    ports: Ports
    cache: StateCache
    reader: StreamReader
    class_schemas: ClassSchemas
    publication: Publication
    stream_heads: StreamHeads
    lease_queue: LeaseQueue
    strictness: Strictness
    judge: Judge
    event_writer: EventWriter
    claims: UniqueClaims
    references: References
    command_outcomes: CommandOutcomes
    snapshot_interval_events: int

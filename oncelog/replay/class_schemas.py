"""The class schemas known to this process: the rules that a command is decided under, and those it was decided under.

A command is bound by its record to one definition, so that every attempt decides alike, also after a newer definition.
Which one is the newest is asked when a command is bound: Redis knows of a definition that was committed since, and S3
is looked at now and then, in case Redis has forgotten. A stale answer does no harm: the event names its
definition, and no aggregate ever goes back to an earlier definition than its last one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog
from cachetools import LRUCache

from oncelog.domain.events import DefinitionReference
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_after
from oncelog.errors import LogDamaged
from oncelog.ports import EventLog, Leases
from oncelog.replay.stream_reader import StreamReader

#: How long an answer of S3 is believed without news from Redis.
RECHECK_S = 30.0
CLASSES_MAX = 1_000

log = structlog.get_logger(__name__)


@dataclass
class _Known:
    """One class as far as its log was read. ``by_sequence``: the rules after each event that defined it."""

    state: Instance
    newest: ClassSchema | None = None
    by_sequence: dict[int, ClassSchema] = field(default_factory=dict)
    checked_s: float = float("-inf")


class ClassSchemas:
    """Reads classes from the log, each event once, and keeps their rules; the least recently used class goes first.

    ``leases`` None: without news from Redis, so that the newest definition may be half a minute old.
    """

    def __init__(
        self,
        *,
        event_log: EventLog,
        reader: StreamReader,
        leases: Leases | None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = event_log
        self._reader = reader
        self._leases = leases
        self._clock_s = clock_s
        self._known: LRUCache[AggregateId, _Known] = LRUCache(CLASSES_MAX)
        self._reading: WeakValueDictionary[AggregateId, asyncio.Lock] = WeakValueDictionary()

    async def newest(self, aggregate_id: AggregateId, *, at_least: int = 0) -> ClassSchema | None:
        """Return the rules of the aggregate's class as they are now, or None while it is not defined.

        ``at_least``: the sequence number of a definition that is known to be there. Raises LogDamaged,
        SchemaUnsupported.
        """
        if aggregate_id.class_id == CLASSES:
            return None
        return await self.newest_of(aggregate_id.class_name, at_least=at_least)

    async def newest_of(self, class_name: AggregateId, *, at_least: int = 0) -> ClassSchema | None:
        """Do as ``newest`` does, for a class by its own aggregate ID."""
        name = class_name
        (told,) = await self._leases.heads([name]) if self._leases else (None,)
        known = self._known.get(name)
        wanted = max(at_least, told or 0)
        if known is None or known.state.sequence_number < wanted or known.checked_s + RECHECK_S < self._clock_s():
            known = await self._read(name)
            if known.state.sequence_number < wanted:
                await self._overstated(name, at_least=at_least, told=told, found=known.state.sequence_number)
        return known.newest

    async def is_defined(self, db_name: str, class_id: str) -> bool:
        """Return whether the class was ever defined; S3 itself is asked before the answer is no. Raises LogDamaged."""
        name = AggregateId.of_class(db_name, class_id)
        known = self._known.get(name)
        if known is None or known.newest is None:
            known = await self._read(name)
        return known.newest is not None

    async def at(self, aggregate_id: AggregateId, reference: DefinitionReference | None) -> ClassSchema | None:
        """Return the rules of one definition of the aggregate's class; raises LogDamaged if the log has no such one."""
        if reference is None:
            return None
        name = aggregate_id.class_name
        known = self._known.get(name)
        if known is None or reference.sequence_number not in known.by_sequence:
            known = await self._read(name)
        if reference.sequence_number not in known.by_sequence:
            raise LogDamaged(
                f"class {name}: expected its definition {reference.version} in slot {reference.sequence_number}, found "
                f"{sorted(known.by_sequence)}; run oncelog verify",
                aggregate_id=str(name),
                sequence_number=reference.sequence_number,
            )
        return known.by_sequence[reference.sequence_number]

    async def of_index(self, class_name: AggregateId, reference: DefinitionReference | None) -> ClassSchema | None:
        """Do as ``at`` does, for a class by its own aggregate ID."""
        return await self.at(AggregateId(class_name.db_name, class_name.instance_key, ""), reference)

    async def _read(self, name: AggregateId) -> _Known:
        """Read the events added to the class's log since it was read last."""
        lock = self._reading.setdefault(name, asyncio.Lock())
        async with lock:
            known = self._known.setdefault(name, _Known(Instance(aggregate_id=str(name))))
            began_s = self._clock_s()
            head = await self._log.last_sequence_number(name, after=known.state.sequence_number)
            for event in await self._reader.events(name, range(known.state.sequence_number + 1, head + 1)):
                state, class_schema = evolve(known.state, event), class_schema_after(known.newest, event)
                known.state, known.newest = state, class_schema
                if class_schema is not None and class_schema.reference.sequence_number == event.sequence_number:
                    known.by_sequence[event.sequence_number] = class_schema
            if known.newest is not None and known.newest.is_large:
                await asyncio.to_thread(known.newest.prepare)
            known.checked_s = began_s
            return known

    async def _overstated(self, name: AggregateId, *, at_least: int, told: int | None, found: int) -> None:
        if found < at_least:
            raise LogDamaged(
                f"class {name}: expected a definition in slot {at_least}, which an event of its instances was decided "
                f"under, found {found} events; run oncelog verify",
                aggregate_id=str(name),
                sequence_number=at_least,
            )
        if self._leases:
            log.warning("redis_overstates_head", aggregate_id=str(name), head=told)
            await self._leases.forget_stream(name)

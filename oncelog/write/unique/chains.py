"""The end of a value's chain: whether its last entry is over, and which instance holds the value by it (V2, V4)."""

from dataclasses import dataclass

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.stored_names import event_key
from oncelog.domain.unique.entry import EndedBy, UniqueEntry, ValueChain
from oncelog.domain.unique.holding import Held, held_values
from oncelog.errors import StoreUnavailable
from oncelog.ports import UniqueEntries
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader
from oncelog.write.unique.helper import Helper


@dataclass(frozen=True)
class ChainEnd:
    """The end of a chain. ``n``: the place after its last entry; ``ended_by``: the reason for which that entry is over.

    ``holder``: the instance that holds the value, at a head that S3 has shown; None where the place may be named.
    """

    n: int
    ended_by: EndedBy | None = None
    holder: Instance | None = None


class ValueChains:
    """Reads chains; writes nothing itself, and has a pending entry's command helped."""

    def __init__(
        self,
        *,
        entries: UniqueEntries,
        reader: StreamReader,
        class_schemas: ClassSchemas,
        helper: Helper,
    ) -> None:
        self._entries = entries
        self._reader = reader
        self._class_schemas = class_schemas
        self._helper = helper

    async def end(self, chain: ValueChain, *, last_place: int | None) -> ChainEnd:
        """Return where a chain ends. ``last_place``: as far as is known, to be looked at first; None to ask S3.

        Raises StoreUnavailable, and the errors of ``Helper.finish`` where an entry is pending for good.
        """
        n = await self._entries.last_place(chain) if last_place is None else last_place
        if n == 0:
            return ChainEnd(n=1)
        entry = await self._entries.read_entry(chain, n)
        if entry is None and last_place is not None:  # Redis named a place that is free
            return await self.end(chain, last_place=None)
        if entry is None:
            raise StoreUnavailable("S3", f"GetObject {chain.key_of(n)}", "it was listed, yet nothing stands there")
        found = await self._judge(entry)
        if found is None:
            await self._helper.finish(entry)
            found = await self._judge(entry)
        if found is None:
            raise StoreUnavailable("S3", f"GetObject {chain.key_of(n)}", "its event was written, yet is not there")
        return found

    async def held(self, state: Instance) -> Held:
        """Return the values that an instance holds, by the definition that its last event names."""
        aggregate_id = AggregateId.parse(state.aggregate_id)
        return held_values(state, await self._class_schemas.at(aggregate_id, state.definition))

    async def _judge(self, entry: UniqueEntry) -> ChainEnd | None:
        """Return the end of the chain after an entry; None while the entry is pending."""
        holder: Instance | None = None
        async for state in self._reader.onward(entry.aggregate, start=entry.slot):
            if entry.value not in await self.held(state):
                key = event_key(entry.aggregate, state.sequence_number)
                return ChainEnd(n=entry.n + 1, ended_by=EndedBy(key=key, checksum=str(state.checksum)))
            holder = state
        return ChainEnd(n=entry.n + 1, holder=holder) if holder else await self._broken(entry)

    async def _broken(self, entry: UniqueEntry) -> ChainEnd | None:
        """Return the end where another place of the event is another's, so that the event can never be."""
        for place in entry.places:
            own = entry.beside(place)
            if own == entry:
                continue
            stored = await self._entries.read_entry(own.chain, own.n)
            if stored is not None and stored != own:
                return ChainEnd(n=entry.n + 1, ended_by=EndedBy(key=stored.key, checksum=stored.checksum))
        return None

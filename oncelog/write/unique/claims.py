"""From a decided event to the places it needs: which values it brings in, and whether another instance holds one."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.limits import UNIQUE_PLACES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection
from oncelog.domain.unique.constraint import UniqueValue
from oncelog.domain.unique.entry import Place, UniqueEntry, ValueChain
from oncelog.domain.unique.holding import Held, brought_in, chain_exhausted, held_values, unique_violated
from oncelog.errors import StoreUnavailable
from oncelog.ports import ChainHints, UniqueEntries
from oncelog.write.unique.chains import ChainEnd, ValueChains
from oncelog.write.unique.entries import write_entries

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claims:
    """The needs of an event. ``places``: to be named in its record. ``refusal``: why it cannot be.

    ``is_outdated``: the aggregate itself holds a value that it is thought to bring in, so its head is further than the
    one that it was decided on.
    """

    places: tuple[Place, ...] = ()
    refusal: Rejection | None = None
    is_outdated: bool = False


NO_CLAIMS = Claims()


class UniqueClaims:
    """Finds the places of events, and writes the entries that records name."""

    def __init__(self, *, chains: ValueChains, entries: UniqueEntries, hints: ChainHints) -> None:
        self._chains = chains
        self._entries = entries
        self._hints = hints

    async def of(self, before: Instance, after: Instance, class_schema: ClassSchema | None, *, hopeful: bool) -> Claims:
        """Return the claims that the event between two states needs; no request is sent if it brings no value in.

        ``hopeful``: take a value of which nothing is known for one that was never used, as most are: the PUT of its
        first entry finds out.
        """
        held = held_values(after, class_schema)
        values = brought_in(await self.held(before), held) if held else []
        if not values:
            return NO_CLAIMS
        aggregate_id = AggregateId.parse(before.aggregate_id)
        chains = [ValueChain.of(aggregate_id, value.key) for value in values]
        places: list[Place] = []
        for value, chain, hint in zip(values, chains, await self.hints(chains), strict=True):
            end = await self.end(chain, hint, hopeful=hopeful)
            if end.holder is not None and end.holder.aggregate_id == before.aggregate_id:
                return Claims(is_outdated=True)
            if refusal := refusal_of(before, value, end, class_schema):
                return Claims(refusal=refusal)
            places.append(place_of(value, end))
        return Claims(places=tuple(places))

    async def end(self, chain: ValueChain, hint: int | None, *, hopeful: bool) -> ChainEnd:
        """Return where a chain ends, as S3 shows it; or, hopefully, that it has not begun."""
        if hopeful and not hint:
            return ChainEnd(n=1)
        end = await self._chains.end(chain, last_place=hint if hopeful else None)
        if end.n > 1 and end.n - 1 != hint:  # a command that is refused remembers no place of its own
            await self._save_hints([(chain, end.n - 1)])
        return end

    async def held(self, state: Instance) -> Held:
        """Return the values that an instance holds."""
        return await self._chains.held(state)

    async def hints(self, chains: Sequence[ValueChain]) -> Sequence[int | None]:
        """Return the last place of each chain as far as Redis knows."""
        return await self._hints.last_places(chains) if chains else []

    async def write(self, entries: Sequence[UniqueEntry]) -> bool:
        """Write the entries of an event in their order; return False at the first place that is another's (V3)."""
        return await write_entries(self._entries, entries)

    async def remember(self, entries: Sequence[UniqueEntry]) -> None:
        """Let Redis know of the last places of chains, if it answers; an unknown place costs one more request."""
        await self._save_hints([(entry.chain, entry.n) for entry in entries])

    async def _save_hints(self, places: Sequence[tuple[ValueChain, int]]) -> None:
        if not places:
            return
        try:
            await self._hints.save_last_places(places)
        except StoreUnavailable as error:
            log.warning("last_places_not_saved", chain=str(places[0][0]), reason=error.message)


def refusal_of(
    state: Instance, value: UniqueValue, end: ChainEnd, class_schema: ClassSchema | None
) -> Rejection | None:
    """Return why an instance cannot bring in a value with this end of its chain; None if it can."""
    if end.holder is not None:
        return unique_violated(state, value, class_schema, holder=end.holder)
    return chain_exhausted(state, value) if end.n > UNIQUE_PLACES_MAX else None


def place_of(value: UniqueValue, end: ChainEnd) -> Place:
    """Return the place that a value's chain has free."""
    return Place(constraint=value.key.constraint, sha256=value.key.sha256, n=end.n, ended_by=end.ended_by)

"""The servers that a check reads, and its queries to Temporal and the projectors."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import LargeObjects
from oncelog.verification.reading import Projectors, Sources

#: Given command IDs, says which of them are under way. It may name more than that, never fewer.
InFlight = Callable[[Collection[str]], Awaitable[Collection[str]]]

#: Called with the kind of the objects being read and their number so far.
Progress = Callable[[str, int], None]


#: Projects aggregates anew over their state in a read model.
ProjectAgain = Callable[[Sequence[AggregateId]], Awaitable[None]]


async def nothing_in_flight(_command_ids: Collection[str]) -> Collection[str]:
    """Say that every command has come to its end, so that nothing can be pending."""
    return ()


@dataclass(frozen=True)
class Servers:
    """Everything that a check reads. ``scratch``: where facts are spilled.

    ``projectors``: where commands leave the projection to them. ``repairs``: by read model, for a check that repairs.
    """

    sources: Sources
    scratch: LargeObjects
    in_flight: InFlight = nothing_in_flight
    projectors: Projectors | None = None
    repairs: Mapping[str, ProjectAgain] = field(default_factory=dict)

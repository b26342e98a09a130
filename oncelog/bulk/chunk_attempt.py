"""One record of a chunk under way: the state of its items, their aggregates and the slots that were read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.bulk.records import ChunkRecord
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.write.stream_head import StreamHead

Changes = Mapping[int, ItemChange | Rejection]


@dataclass
class ChunkAttempt:
    """One record of a chunk under way.

    ``planned``: the record to write, or the stored one. ``class_schema``: the class schema its items are decided
    under, once the heads are known. ``decided``: the events that this attempt has decided under it. ``occupied``: the
    IDs of the events in slots that were read. ``claimed``: by key and item, whether the place of an entry that was
    written holds that entry.
    """

    chunk: int
    number: int
    changes: Changes
    planned: ChunkRecord | None = None
    heads: dict[str, StreamHead] = field(default_factory=dict)
    decided: dict[int, Event] = field(default_factory=dict)
    occupied: dict[tuple[str, int], str] = field(default_factory=dict)
    claimed: dict[tuple[str, int | None], bool] = field(default_factory=dict)
    class_schema: ClassSchema | None = None

    def event_in(self, name: str, slot: int) -> str | None:
        """Return the ID of the event that was read in a slot, or None if the slot was not read."""
        return self.occupied.get((name, slot))

    def is_own(self, entry: UniqueEntry) -> bool | None:
        """Return whether the place of an item's entry holds that entry, or None if that was not tried."""
        return self.claimed.get((entry.key, entry.item))

    @property
    def definition(self) -> int:
        """The newest definition that a state in question was made under, 0 for none."""
        known = [head.state.definition for head in self.heads.values()]
        return max((definition.sequence_number for definition in known if definition), default=0)

    @property
    def aggregate_ids(self) -> list[AggregateId]:
        """The aggregates in question, in the order in which leases on them are waited for."""
        found = {change.aggregate_id for change in self.changes.values() if isinstance(change, ItemChange)}
        return sorted(found, key=str)

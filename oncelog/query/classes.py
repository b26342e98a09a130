"""The classes of a database as they are defined now, for questions that go by their names."""

import asyncio
from collections.abc import Mapping

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.ontology.class_schema import Rules, rules_after
from oncelog.domain.ontology.relationship_names import Ways
from oncelog.ports import Inventory
from oncelog.replay.stream_reader import LogReader


class DefinedClasses:
    """Reads the definitions of a database from the log: one listing for each question, each event once.

    A listing is never behind, so what was defined a moment ago is known, whoever defined it.
    """

    def __init__(self, inventory: Inventory, reader: LogReader) -> None:
        self._inventory = inventory
        self._reader = reader
        self._known: dict[AggregateId, tuple[int, Rules | None]] = {}

    async def ways(self, db_name: str) -> Ways:
        """Return what can be walked by name there; raises LogDamaged, StoreUnavailable, SchemaUnsupported."""
        rules = await self.newest(db_name)
        return Ways(db_name, {class_id: each.definition for class_id, each in rules.items()})

    async def names(self, db_name: str) -> list[str]:
        """Return the names of a database's defined classes, retired or not, sorted; raises StoreUnavailable."""
        return sorted(name.instance_key for name in await self._heads(db_name))

    async def newest(self, db_name: str) -> Mapping[str, Rules]:
        """Return each defined class's newest rules, those of retired ones as well; raises as ``ways`` does."""
        heads = await self._heads(db_name)
        found = await asyncio.gather(*(self._read(name, head) for name, head in heads.items()))
        return {name.instance_key: rules for name, rules in zip(heads, found, strict=True) if rules is not None}

    async def _heads(self, db_name: str) -> dict[AggregateId, int]:
        heads: dict[AggregateId, int] = {}
        position: str | None = ""
        while position is not None:
            page = await self._inventory.extents(after=position, db_name=db_name, class_id=CLASSES)
            heads |= {extent.aggregate_id: extent.head for extent in page.items}
            position = page.position
        return heads

    async def _read(self, name: AggregateId, head: int) -> Rules | None:
        known, rules = self._known.get(name, (0, None))
        if known < head:
            for event in await self._reader.events(name, range(known + 1, head + 1)):
                rules = rules_after(rules, event)
            self._known[name] = (head, rules)
        return rules

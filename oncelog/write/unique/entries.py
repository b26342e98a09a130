"""The entries of an event, written in their order before it (V3)."""

from collections.abc import Sequence

from oncelog.domain.unique.entry import UniqueEntry
from oncelog.ports import UniqueEntries


async def write_entries(port: UniqueEntries, entries: Sequence[UniqueEntry]) -> bool:
    """Write the entries of an event in their order; return False at the first place that is another's."""
    for entry in entries:
        if await port.write_entry(entry) != entry:
            return False
    return True

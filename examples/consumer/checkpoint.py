"""A table of instances in SQLite, and beside it how far each aggregate and each partition was read.

State and progress change in one transaction, so each event takes effect once, whenever the program ends.
"""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_TABLES = """
CREATE TABLE IF NOT EXISTS topic (topic_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS offsets (kafka_partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS instances (
    aggregate_id TEXT PRIMARY KEY, sequence_number INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT NOT NULL
);
"""


class Checkpoint:
    """The consumer's database."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self, topic_id: str) -> Mapping[int, int]:
        """Return the next offset of each partition; a topic with another ID is read from its beginning.

        Offsets and sequence numbers count in one topic only. The log publishes everything again into a new one.
        """
        with self._connection:
            row = self._connection.execute("SELECT topic_id FROM topic").fetchone()
            if row != (topic_id,):
                for table in ("topic", "offsets", "instances"):
                    self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a name from the line above
                self._connection.execute("INSERT INTO topic VALUES (?)", (topic_id,))
            return dict(self._connection.execute("SELECT kafka_partition, next_offset FROM offsets").fetchall())

    def apply(self, event: Mapping[str, Any], *, partition: int, offset: int) -> bool:
        """Take the event if it is the aggregate's next one, and remember the offset; return whether it was taken.

        An event that is not above the last one is a late duplicate. An event beyond a gap comes again
        after those between. Both are dropped.
        """
        with self._connection:
            row = self._connection.execute(
                "SELECT sequence_number, data FROM instances WHERE aggregate_id = ?", (event["aggregate_id"],)
            ).fetchone()
            last, data = (row[0], json.loads(row[1])) if row else (0, {})
            taken: bool = event["sequence_number"] == last + 1
            if taken:
                deleted = event["effect"] == "REMOVE"
                values = (event["aggregate_id"], last + 1, deleted, json.dumps(folded(data, event)))
                self._connection.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?)", values)
            self._connection.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (partition, offset + 1))
        return taken

    def instances(self) -> dict[str, tuple[int, Any]]:
        """Return sequence number and data by aggregate ID, deleted instances left out."""
        rows = self._connection.execute("SELECT aggregate_id, sequence_number, data FROM instances WHERE NOT deleted")
        return {aggregate_id: (number, json.loads(data)) for aggregate_id, number, data in rows}


def folded(data: Any, event: Mapping[str, Any]) -> Any:
    """Return the data after the event: ``effect`` says what the event's data does to it."""
    if event["effect"] == "MERGE":
        return _merged(data, event["data"])
    return event["data"] if event["effect"] == "REPLACE" else {}


def _merged(data: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    kept = {name: value for name, value in data.items() if name not in patch} if isinstance(data, dict) else {}
    changed = {
        name: _merged(data.get(name) if isinstance(data, dict) else None, value)
        for name, value in patch.items()
        if value is not None
    }
    return kept | changed

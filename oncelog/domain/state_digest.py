"""Digests of folded states: one line per aggregate, a Merkle root per class and per database.

They are the same on every run and every machine, since they follow from the log alone: lines are sorted by aggregate
ID, and how a replay was divided among workers changes nothing. ``docs/log-format.md`` has the form for other programs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.merkle import leaf_hash, root_of
from oncelog.errors import InputInvalid

#: Changes when a line, or the state that it digests, is made in another way: roots of two formats are not compared.
FORMAT = 1

_LINE = re.compile(r"(?P<aggregate_id>\S+) (?P<sequence_number>[1-9][0-9]*) (?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class StateDigest:
    """The digest of one state: aggregate ID, sequence number, and the SHA-256 of the canonical state in hexadecimal."""

    aggregate_id: str
    sequence_number: int
    digest: str

    @classmethod
    def of(cls, state: Instance) -> "StateDigest":
        """Return the digest of a state after at least one event."""
        definition = state.definition
        fields = {
            "aggregate_id": state.aggregate_id,
            "checksum": state.checksum,
            "created_at": state.created_at,
            "data": state.data,
            "definition": definition.model_dump(mode="json") if definition else None,
            "deleted": state.deleted,
            "event_id": state.event_id,
            "schema_version": state.schema_version,
            "sequence_number": state.sequence_number,
            "updated_at": state.updated_at,
        }
        return cls(state.aggregate_id, state.sequence_number, sha256_hex(canonical_bytes(fields)))

    @classmethod
    def parse(cls, line: str) -> "StateDigest":
        """Read a line, with or without its newline; raises InputInvalid."""
        match = _LINE.fullmatch(line.removesuffix("\n"))
        if match is None:
            raise InputInvalid(f"state digest: expected an aggregate ID, a number and 64 digits, found {line[:200]!r}")
        return cls(match["aggregate_id"], int(match["sequence_number"]), match["digest"])

    @property
    def line(self) -> str:
        """The line of this aggregate in a file of digests, without a newline."""
        return f"{self.aggregate_id} {self.sequence_number} {self.digest}"

    @property
    def leaf(self) -> bytes:
        """The leaf of the class's tree: the hash of the line."""
        return leaf_hash(self.line.encode())


@dataclass(frozen=True)
class TreeDigest:
    """The Merkle root over the lines of a class, or over the classes of a database. ``root``: 32 bytes."""

    name: str
    size: int
    root: bytes

    @property
    def line(self) -> str:
        """The line of a class in its database's tree."""
        return f"{self.name} {self.size} {self.root.hex()}"

    @property
    def leaf(self) -> bytes:
        return leaf_hash(self.line.encode())


def database_digest(db_name: str, classes: Iterable[TreeDigest]) -> TreeDigest:
    """Return the root over a database's classes, sorted by name; a class without aggregates counts, too."""
    in_order = sorted(classes, key=lambda each: each.name)
    return TreeDigest(db_name, len(in_order), root_of(each.leaf for each in in_order))


def class_path(aggregate_id: AggregateId) -> str:
    """Return the name of the class's tree, as in ``shop/Product``."""
    return f"{aggregate_id.db_name}/{aggregate_id.class_id}"

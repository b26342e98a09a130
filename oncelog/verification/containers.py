"""The indices and aliases of read models: each alias leads to one index that is open, writable and on a node."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import IndexFacts
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.verification.findings import Code, Finding

#: Of an index behind its alias that cannot be read, with any content.
_UNREADABLE = (Code.INDEX_CLOSED, Code.INDEX_UNASSIGNED, Code.ALIAS_LOST, Code.ALIAS_AMBIGUOUS)


def documents_of(aggregate_id: str) -> str:
    """Return the alias of an aggregate's document, without the namespace."""
    place = AggregateId.parse(aggregate_id)
    return f"instances.{place.db_name}.{place.class_id}".lower()


def node_of(aggregate_id: str) -> str:
    """Return the alias of an aggregate's node, without the namespace."""
    return f"graph.{AggregateId.parse(aggregate_id).db_name}".lower()


#: By read model, the alias that leads to its document or node of an aggregate.
ALIAS_OF: Mapping[str, Callable[[str], str]] = {DocumentsModel.name: documents_of, GraphModel.name: node_of}


@dataclass
class ContainerAudit:
    """Takes the indices as they are before and after all else is read, and finds the defects that they have both times.

    An index that follows another takes no writes for a moment, so one look is not enough.
    """

    _found: list[dict[tuple[Code, str], Finding]] = field(default_factory=list)
    _definitions: dict[str, int | None] = field(default_factory=dict)  # by alias, when it was first looked at

    def add(self, indices: Sequence[IndexFacts]) -> None:
        """Look at all indices of this moment."""
        self._definitions = {each.alias: each.definition for each in indices if each.is_behind} | self._definitions
        self._found.append({(finding.code, finding.where): finding for finding in _judge(indices)})

    @property
    def unreadable(self) -> Collection[str]:
        """The aliases behind which nothing can be read: nothing is said of single documents and nodes there."""
        found = [key for look in self._found for key in look]
        return {where.partition(" ")[2] for code, where in found if code in _UNREADABLE}

    def is_unread(self, read_model: str, aggregate_id: str) -> bool:
        """Return whether a read model's document or node of an aggregate could not be read."""
        return bool(self._found) and ALIAS_OF[read_model](aggregate_id) in self.unreadable

    def definition_of(self, aggregate_id: str) -> int | None:
        """Return the definition that the documents of its class fitted when its index was first looked at."""
        return self._definitions.get(documents_of(aggregate_id))

    def judge(self) -> Iterator[Finding]:
        """Yield the findings that every look has."""
        if self._found:
            first, *others = self._found
            yield from (finding for key, finding in first.items() if all(key in other for other in others))


def _judge(indices: Sequence[IndexFacts]) -> Iterator[Finding]:
    by_alias: defaultdict[str, list[IndexFacts]] = defaultdict(list)
    for index in indices:
        by_alias[index.alias].append(index)
    for alias, family in sorted(by_alias.items()):
        where, behind = f"alias {alias}", sorted((one for one in family if one.is_behind), key=lambda one: one.name)
        if not behind:
            names = ", ".join(sorted(one.name for one in family))
            found = f"expected it to lead to one of {names}, found none: readers find nothing; oncelog check --repair"
            yield Finding(Code.ALIAS_LOST, where, found)
        elif len(behind) > 1:
            names = " and ".join(one.name for one in behind)
            found = f"expected one index, found {names}; take it off all but one (POST _aliases)"
            yield Finding(Code.ALIAS_AMBIGUOUS, where, found)
        else:
            yield from _judge_index(where, behind[0])


def _judge_index(where: str, index: IndexFacts) -> Iterator[Finding]:
    if not index.is_open:
        yield Finding(Code.INDEX_CLOSED, where, f"expected {index.name} open, found it closed; POST {index.name}/_open")
    elif not index.is_assigned:
        found = f"expected the shard of {index.name} on a node, found it on none; GET _cluster/allocation/explain"
        yield Finding(Code.INDEX_UNASSIGNED, where, found)
    elif not index.takes_writes:
        found = f"expected {index.name} to take writes, found a block; remove index.blocks.* from its settings"
        yield Finding(Code.INDEX_BLOCKED, where, found)

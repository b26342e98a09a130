"""A walk's hops and its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import check_filter
from oncelog.ports import Document


@dataclass(frozen=True)
class Hop:
    """One step from each instance reached so far to others.

    ``name``: a predicate of its class, to its targets; or an inverse that another class declares, to those of
    that class that refer to it. ``inward``: ``name`` is a predicate to be walked against its direction, without
    regard to its inverse's name. ``class_id`` keeps only instances of that class; ``where`` only those with these
    values in their data, or values within these ranges, each at a JSON Pointer (RFC 6901).
    """

    name: str
    inward: bool = False
    class_id: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pointer, value in self.where.items():
            check_filter(pointer, value)


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    ``paths``: each from a start to an end, one per end, in order of the ends' IDs. ``documents``: of everything on
    them. ``dangling``: referred to, but no such instance is in the graph. ``undocumented``: in the graph without a
    document. ``uneven``: the graph and the document are at different sequence numbers, ``(graph, document)``.
    ``cut``: there is more than was asked for or may be looked at.
    """

    paths: Sequence[tuple[AggregateId, ...]]
    documents: Mapping[AggregateId, Document]
    dangling: Sequence[AggregateId] = ()
    undocumented: Sequence[AggregateId] = ()
    uneven: Mapping[AggregateId, tuple[int, int]] = field(default_factory=dict)
    cut: bool = False

"""The budget for judging data by a JSON Schema, counted and not timed, so that every machine comes to one decision.

A validator applies a schema's parts *in place* (``$ref``, ``allOf``, ``anyOf``, ``if`` …) and *below* (``properties``,
``items`` …). Alternatives that share their parts multiply: twenty definitions that each name the next one twice apply
the last one a million times. ``JudgingCost`` counts how often one value can be judged at most, per level of nesting.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oncelog.domain.limits import (
    APPLICATIONS_MAX,
    DEPTH_MAX,
    JUDGEMENTS_MAX,
    SCHEMA_REFERENCES_DEPTH_MAX,
    STORED_DEPTH_MAX,
)
from oncelog.domain.ontology.schema_parts import BELOW_LISTS, BELOW_MAPS, BELOW_PARTS, Node, parts_below, parts_in_place
from oncelog.errors import InputInvalid

_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
#: Keywords by which a part looks at each member of an object, or each item of an array, with any value.
_BY_MEMBER = frozenset(
    {*BELOW_MAPS, *BELOW_LISTS, *BELOW_PARTS, "required", "dependentRequired", "dependentSchemas", "dependencies"}
)

#: Numbers above this one are all the same: too many.
_TOO_MANY = 10**12
#: Places of a schema at which two of its alternatives may meet: names of members, and one for all others.
_OTHERS = None

Shape = frozenset[tuple[int, int]]


class JudgingCost:
    """How often a value can be judged under a schema, at most, by its level of nesting (0: the data itself).

    Raises InputInvalid for a schema with parts that multiply beyond ``APPLICATIONS_MAX`` at one place, or refer to
    each other more than ``SCHEMA_REFERENCES_DEPTH_MAX`` times in a row. Time and memory: in proportion to the schema's
    size, times the levels of nesting.
    """

    def __init__(self, root: Node) -> None:
        self._root = root
        self._applied: dict[int, Counter[int]] = {}
        self._nodes: dict[int, Node] = {}
        self._shapes: dict[int, Shape] = {}
        groups: dict[Shape, list[Counter[int]]] = {}
        start = id(root)
        self._apply(root)
        for node in self._reachable(root):
            if (shape := self._shapes[id(node)]) not in groups:
                groups[shape] = self._meeting(node)
        self._levels = self._by_level(start, groups, lambda _node: True)
        self._member_levels = self._by_level(start, groups, lambda node: not _BY_MEMBER.isdisjoint(node))
        self._inner_levels = self._by_level(start, groups, lambda node: bool(node.get("uniqueItems")))
        inner_max = sum(_at(self._inner_levels, level) for level in range(STORED_DEPTH_MAX + 1))
        self._value_max = max(self._levels) + max(self._member_levels) + inner_max

    def _by_level(
        self, start: int, groups: Mapping[Shape, list[Counter[int]]], counts: Callable[[Node], bool]
    ) -> list[int]:
        """Return how often nodes that count can be applied to one value at most, by its level of nesting."""
        counted = {key for key, node in self._nodes.items() if counts(node)}
        level = {
            key: sum(count for node, count in applied.items() if node in counted)
            for key, applied in self._applied.items()
        }
        levels = [level[start]]
        while len(levels) <= DEPTH_MAX:
            worst = {shape: _worst(meeting, level) for shape, meeting in groups.items()}
            above = {key: worst[shape] for key, shape in self._shapes.items()}
            levels.append(above[start])
            if above == level:  # nothing changes from here on down
                break
            level = above
        return levels

    def is_within(self, values: int, *, judgements_max: int) -> bool:
        """Return whether so many values cannot take more applications, however they are nested.

        Every value may lie within arrays of unique items at all levels above it.
        """
        return values * self._value_max <= judgements_max

    def at(self, level: int) -> int:
        """Return how often one value at this level of nesting can be judged."""
        return _at(self._levels, level)

    def exceeded_by(self, data: Any, *, judgements_max: int = JUDGEMENTS_MAX) -> bool:
        """Return whether judging the data may take more than so many applications; linear in its size."""
        return self.spent(data, judgements_max=judgements_max) > judgements_max

    def spent(self, data: Any, *, level: int = 0, judgements_max: int = JUDGEMENTS_MAX) -> int:
        """Return how many applications judging a value at this level may take, or a number above the largest.

        A part that looks at members costs one for each, and one that wants unique items one for all that is within.
        """
        spent, values, inner = 0, [data], 0
        while values and spent <= judgements_max:
            spent += len(values) * (self.at(level) + inner)
            holders = [value for value in values if isinstance(value, _HOLDERS)]
            children = [child for value in holders for child in _children(value)]
            spent += len(children) * _at(self._member_levels, level)
            inner += _at(self._inner_levels, level)
            values = children
            level += 1
        return spent

    def _reachable(self, root: Node) -> Iterator[Node]:
        """Yield every node that a value can be judged by; nodes of one shape have the same ones below them."""
        pending, seen = [root], {id(root)}
        entered: set[Shape] = set()
        while pending:
            node = pending.pop()
            shape = self._shapes[id(node)] = self._shape(node)
            yield node
            if shape in entered:
                continue
            entered.add(shape)
            for below in self._below(node):
                if id(below) not in seen:
                    seen.add(id(below))
                    self._apply(below)
                    pending.append(below)

    def _shape(self, node: Node) -> Shape:
        """Return the parts applied with a node that go on into members or items: a thousand references share them."""
        applied = self._applied[id(node)]
        return frozenset((key, count) for key, count in applied.items() if _goes_below(self._nodes[key]))

    def _below(self, node: Node) -> Iterator[Node]:
        for key in self._applied[id(node)]:
            yield from parts_below(self._nodes[key])

    def _apply(self, node: Node) -> Counter[int]:
        """Return every node that is applied in place with this one, and how often; iterative, each node once."""
        stack: list[tuple[Node, Iterator[Node]]] = []
        entered: set[int] = set()

        def enter(one: Node) -> None:
            if len(stack) >= SCHEMA_REFERENCES_DEPTH_MAX:
                raise InputInvalid(
                    f"its parts refer to each other more than {SCHEMA_REFERENCES_DEPTH_MAX} times in a row; "
                    "let references lead to their ends directly"
                )
            self._nodes[id(one)] = one
            entered.add(id(one))
            stack.append((one, parts_in_place(one, self._root)))

        if id(node) not in self._applied:
            enter(node)
        while stack:
            current, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                entered.remove(id(current))
                self._applied[id(current)] = self._sum(current)
            elif id(child) in entered:
                _check_circle([one for one, _ in stack], child)
            elif id(child) not in self._applied:
                enter(child)
        return self._applied[id(node)]

    def _sum(self, node: Node) -> Counter[int]:
        times = 2 if any(keyword in node for keyword in _UNEVALUATED) else 1  # they judge their neighbours once more
        applied = Counter({id(node): _own_cost(node)})
        for child in parts_in_place(node, self._root):
            for key, count in self._applied.get(id(child), {}).items():
                applied[key] += times * count
        if sum(applied.values()) > APPLICATIONS_MAX:
            raise InputInvalid(
                f"its alternatives multiply: one value would be judged more than {APPLICATIONS_MAX} times; "
                "name each definition in one alternative only"
            )
        return applied

    def _meeting(self, node: Node) -> list[Counter[int]]:
        """Return, for each member's name and for all others, the parts applied to a value that stands there."""
        by_name: dict[str | None, Counter[int]] = {_OTHERS: Counter(), "": Counter()}
        everywhere: Counter[int] = Counter()
        for key, count in self._applied[id(node)].items():
            applied = self._nodes[key]
            for name, part in applied.get("properties", {}).items():
                if isinstance(part, dict):
                    by_name.setdefault(f"/{name}", Counter())[id(part)] += count
            for part in parts_below(applied, named=False):
                everywhere[id(part)] += count
        return [group + everywhere for group in by_name.values() if group or everywhere]


_HOLDERS = (dict, list)


def _at(levels: list[int], level: int) -> int:
    return levels[min(level, len(levels) - 1)]


def _worst(groups: list[Counter[int]], level: Mapping[int, int]) -> int:
    worst = max((sum(count * level[key] for key, count in group.items()) for group in groups), default=0)
    return min(worst, _TOO_MANY)


def _check_circle(path: list[Node], child: Node) -> None:
    """Raise InputInvalid unless the circle consists of bare references, which say nothing and cost nothing."""
    start = next(index for index, node in enumerate(path) if node is child)
    if not all(set(node) <= {"$ref", "$defs", "type", "title", "description"} for node in path[start:]):
        raise InputInvalid(
            "it refers to itself without going into a member or an item, so that judging a value would never end; "
            "leave that reference out"
        )


def _own_cost(node: Node) -> int:
    """Return the cost of a node without its parts: a value is compared with those of ``enum`` and ``const``, which
    takes time for each object or array, and for all that is within; each object is asked for the names it must have.
    """
    dependent = node.get("dependentRequired")
    lists = [node.get("required"), *(dependent.values() if isinstance(dependent, dict) else ())]
    names = sum(len(each) for each in lists if isinstance(each, list))
    values = node.get("enum")
    values = [*(values if isinstance(values, list) else ()), node.get("const")]
    large = [value for value in values if isinstance(value, dict | list)]
    within = 0
    pending = list(large)
    while pending:
        children = _children(pending.pop())
        within += len(children)
        pending += [child for child in children if isinstance(child, dict | list)]
    return 1 + len(large) + within // 8 + (len(values) - len(large) + names) // 16


def _goes_below(node: Node) -> bool:
    return next(parts_below(node), None) is not None


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()

"""The budget for matching texts against a schema's patterns, counted like that of ``budget``.

A regular expression that counts (``a(a|b){800}c``) compiles to a large automaton, and each character of a text may
visit all of it: 12 µs per character for 128 KiB. So characters times the size of the patterns that they meet are
bounded. Sizes are those of the engine itself, by doubling its own limit until the pattern compiles.
"""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from oncelog.domain.canonical import shortened
from oncelog.domain.json_size import values_and_characters
from oncelog.domain.limits import (
    MATCHING_STEPS_MAX,
    PATTERN_BYTES_MAX,
    PATTERNS_BYTES_MAX,
)
from oncelog.domain.ontology.schema_parts import Node, parts_in_place, subschemas
from oncelog.errors import InputInvalid

#: Up to this size, a pattern's states are looked up and cost next to nothing.
_SMALL_BYTES = 2048
#: The price of a small pattern or a format for one character, in parts of that of one KiB.
_PARTS_PER_KIB = 16


class MatchingCost:
    """The price of matching texts under a schema, at most. Raises InputInvalid for patterns that are too large."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._prices: dict[str, int] = {}
        self._sizes_bytes: dict[str, int] = {}
        total_bytes = total_price = 0
        for node in _nodes(root):
            for pattern in _patterns(node):
                if pattern not in self._prices:
                    size_bytes = _compiled_bytes(pattern)
                    total_bytes += size_bytes
                    self._sizes_bytes[pattern] = size_bytes
                    self._prices[pattern] = _price(size_bytes)
                if total_bytes > PATTERNS_BYTES_MAX:
                    raise InputInvalid(
                        f"expected patterns of at most {PATTERNS_BYTES_MAX} bytes once they are compiled, found more; "
                        "leave some out, or count less in them"
                    )
            total_price += self._own_price(node)
        self._price_max = total_price

    def exceeded_by(self, data: Any, *, steps_max: int = MATCHING_STEPS_MAX) -> bool:
        """Return whether matching the data's own texts and keys may take more than so many steps."""
        return self.at_most(data) > steps_max and self.spent(data, steps_max=steps_max) > steps_max

    def is_within(self, characters: int, *, steps_max: int) -> bool:
        """Return whether texts and keys of so many characters cannot take more steps, whichever patterns they meet."""
        return self._steps(characters) <= steps_max

    def size_kib(self, pattern: str) -> int:
        """Return the size of one of the patterns once it is compiled."""
        return self._sizes_bytes.get(pattern, 0) // 1024

    def at_most(self, data: Any) -> int:
        """Return the steps that matching would take if each text met every pattern."""
        return self._steps(values_and_characters(data)[1]) if self._price_max else 0

    def _steps(self, characters: int) -> int:
        return characters * self._price_max // _PARTS_PER_KIB

    def spent(self, data: Any, *, steps_max: int = MATCHING_STEPS_MAX) -> int:
        """Return the steps that matching the data's own texts and keys may take, or a number above ``steps_max``."""
        if self._price_max == 0:
            return 0
        room = steps_max * _PARTS_PER_KIB
        spent = 0
        pending: list[tuple[Any, list[Node]]] = [(data, [self._root])]
        while pending and spent <= room:
            value, parts = pending.pop()
            applied = self._in_place(parts)
            spent += len(applied)
            if isinstance(value, str):
                spent += len(value) * sum(map(self._own_price, applied))
            elif isinstance(value, dict):
                spent += sum(map(len, value)) * self._key_price(applied)
                pending += [(child, list(_below_name(applied, name))) for name, child in value.items()]
            elif isinstance(value, list):
                below = list(_below_items(applied))
                pending += [(child, below) for child in value]
        return -(-spent // _PARTS_PER_KIB)

    def _own_price(self, node: Node) -> int:
        """Return the price of one character for the patterns and the format that a node itself has."""
        price = sum(self._prices[pattern] for pattern in _patterns(node))
        return price + ("format" in node)

    def _key_price(self, applied: list[Node]) -> int:
        names = [part for node in applied if isinstance(part := node.get("propertyNames"), dict)]
        keys = sum(self._prices[pattern] for node in applied for pattern in node.get("patternProperties", ()))
        return keys + sum(map(self._own_price, self._in_place(names)))

    def _in_place(self, parts: list[Node]) -> list[Node]:
        """Return all nodes that are applied to one value with these."""
        applied: list[Node] = []
        pending = list(parts)
        seen: set[int] = set()
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            applied.append(node)
            pending += parts_in_place(node, self._root)
        return applied


def _nodes(root: Node) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending += [part for _, part in subschemas(node) if isinstance(part, dict)]


def _patterns(node: Node) -> Iterator[str]:
    if isinstance(pattern := node.get("pattern"), str):
        yield pattern
    yield from node.get("patternProperties", ())


def _compiled_bytes(pattern: str) -> int:
    """Return the size within which the pattern compiles, a power of two; raises InputInvalid above the limit."""
    size_bytes = _SMALL_BYTES
    while size_bytes <= PATTERN_BYTES_MAX:
        try:
            jsonschema_rs.Draft202012Validator(
                {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions(size_limit=size_bytes), offline=True
            )
        except ValueError:
            size_bytes *= 2
        else:
            return size_bytes
    raise InputInvalid(
        f"pattern {shortened(pattern, 80)!r}: expected a regular expression without look-around and back-references, "
        f"of at most {PATTERN_BYTES_MAX} bytes once it is compiled; count less in it, or use maxLength"
    )


def _price(size_bytes: int) -> int:
    return 1 if size_bytes <= _SMALL_BYTES else size_bytes // 1024 * _PARTS_PER_KIB


def _below_name(applied: list[Node], name: str) -> Iterator[Node]:
    for node in applied:
        candidates = [node.get("properties", {}).get(name), *node.get("patternProperties", {}).values()]
        candidates += [node.get(keyword) for keyword in ("additionalProperties", "unevaluatedProperties")]
        yield from (part for part in candidates if isinstance(part, dict))


def _below_items(applied: list[Node]) -> Iterator[Node]:
    for node in applied:
        candidates = [*node.get("prefixItems", ()), node.get("items"), node.get("contains")]
        candidates.append(node.get("unevaluatedItems"))
        yield from (part for part in candidates if isinstance(part, dict))

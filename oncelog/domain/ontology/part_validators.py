"""Validators of a schema's parts, each compiled when it is needed first, with the price of compiling it."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jsonschema_rs

from oncelog.domain.json_pointer import fragment_of, parse_pointer

Compile = Callable[..., jsonschema_rs.Draft202012Validator]

_ROOT = "json-schema:///definition"
#: Compiled parts up to this weight are kept for the next data; some 30 bytes for each.
KEPT_WEIGHT_MAX = 500_000
#: The weight of a schema, an object or an array; any other value weighs 1.
_CONTAINER_WEIGHT = 16


class PartValidators:
    """``compile_schema``: makes a validator, given a registry; ``spend``: is told of each weight that is compiled.

    A weight is the number of JSON values that are compiled, and the KiB of their patterns once they are.
    """

    def __init__(
        self,
        root: dict[str, Any],
        compile_schema: Compile,
        *,
        pattern_weight: Callable[[str], int],
        spend: Callable[[int], None],
    ) -> None:
        self._root = root
        self._compile = compile_schema
        self._pattern_weight = pattern_weight
        self._spend = spend
        self._registry = jsonschema_rs.Registry([(_ROOT, root)], draft=jsonschema_rs.Draft202012)
        self._validators: dict[str | tuple[str, ...], jsonschema_rs.Draft202012Validator] = {}
        self._kept_weight = 0

    def forget(self) -> None:
        """Forget the validators of earlier data if they weigh more than ``KEPT_WEIGHT_MAX``."""
        if self._kept_weight > KEPT_WEIGHT_MAX:
            self._validators.clear()
            self._kept_weight = 0

    def of_part(self, where: str, part: Any) -> jsonschema_rs.Draft202012Validator:
        """Return the validator of a part, which stands at this JSON Pointer."""
        if where not in self._validators:
            self._count(part)
            reference = {"$ref": f"{_ROOT}{fragment_of(parse_pointer(where))}"}
            self._validators[where] = self._compile(reference, registry=self._registry)
        return self._validators[where]

    def of_keywords(self, name: str | tuple[str, ...], keywords: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
        """Return the validator of keywords without references, under a name that no pointer has."""
        if name not in self._validators:
            self._count(keywords)
            self._validators[name] = self._compile(keywords)
        return self._validators[name]

    def _count(self, part: Any) -> None:
        weight = self._weight(part)
        self._kept_weight += weight
        self._spend(weight)

    @cached_property
    def _whole_weight(self) -> int:
        return self._weight(self._root, whole=True)

    def _weight(self, part: Any, *, whole: bool = False) -> int:
        """Return the weight of a part; with a reference in it, which may lead anywhere, that of the whole schema."""
        weight, pending = 0, [part]
        while pending:
            value = pending.pop()
            weight += _CONTAINER_WEIGHT if isinstance(value, dict | list) else 1
            if isinstance(value, list):
                pending += value
            elif isinstance(value, dict):
                if "$ref" in value and not whole:
                    return self._whole_weight
                pending += value.values()
                weight += sum(map(self._pattern_weight, _patterns(value)))
        return weight


def _patterns(node: dict[str, Any]) -> list[str]:
    by_key = node.get("patternProperties")
    patterns = [node.get("pattern"), *(by_key if isinstance(by_key, dict) else ())]
    return [pattern for pattern in patterns if isinstance(pattern, str)]

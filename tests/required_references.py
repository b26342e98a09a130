"""A class with references that must exist, and those of its live instances that lead to none, by the logs alone."""

from collections.abc import Mapping
from typing import Any

from oncelog.domain.commands import Command
from oncelog.domain.results import Outcome
from oncelog.stores.s3 import StoredObject
from tests.classes import TEXT, WHOLE, define, schema
from tests.commands import create, delete
from tests.unique_values import states
from tests.write.world import Process

IDS: dict[str, Any] = {"type": "array", "items": TEXT}

PRODUCTS: dict[str, Any] = {
    "version": "1.0.0",
    "schema": schema(maker=TEXT, parts=IDS, alike=IDS, n=WHOLE),
    "relationships": {
        "made_by": {"target_class": "Maker", "cardinality": "one", "path": "/maker", "must_exist": True},
        "has_part": {"target_class": "Product", "cardinality": "many", "path": "/parts", "must_exist": True},
        "like": {"target_class": "Product", "cardinality": "many", "path": "/alike"},
    },
}


def define_products(**more: Any) -> Command:
    return define({**PRODUCTS, **more})


def maker(name: str) -> Command:
    return create(name, {"n": 0}, class_id="Maker")


def delete_maker(name: str) -> Command:
    return delete(name, class_id="Maker")


def dangling(objects: Mapping[str, StoredObject]) -> set[tuple[str, str]]:
    """Return each reference of a live product to a maker or a part that is not there, from the objects alone."""
    products, makers = states(objects), states(objects, "Maker")
    there = {name for name, history in (products | makers).items() if history[-1] is not None}
    found: set[tuple[str, str]] = set()
    for name, history in products.items():
        data = history[-1] or {}
        targets = [f"shop/Product/{part}" for part in data.get("parts", [])]
        targets += [f"shop/Maker/{data['maker']}"] if "maker" in data else []
        found |= {(name, target) for target in targets if target not in there}
    return found


async def applied(process: Process, *commands: Command) -> None:
    for command in commands:
        result = await process.run(command)
        assert result.outcome is Outcome.APPLIED, result.rejection

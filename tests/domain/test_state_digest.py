"""Digests of states: they follow from the events alone, and every field of the state counts."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.events import DefinitionReference, Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.domain.merkle import root_of
from oncelog.domain.state_digest import StateDigest, TreeDigest, class_path, database_digest
from oncelog.errors import InputInvalid
from tests.commands import create, update

NOON = "2026-01-31T12:00:00.000000Z"
STATE = Instance(
    aggregate_id="shop/Product/p1",
    sequence_number=3,
    checksum="c" * 64,
    event_id="e1",
    schema_version="1.0.0",
    created_at=NOON,
    updated_at=NOON,
    data={"name": "Lamp"},
)
CHANGES: dict[str, Any] = {
    "aggregate_id": "shop/Product/p2",
    "sequence_number": 4,
    "checksum": "d" * 64,
    "event_id": "e2",
    "schema_version": "1.1.0",
    "deleted": True,
    "created_at": None,
    "updated_at": None,
    "definition": DefinitionReference(version="1.0.0", sequence_number=1),
    "data": {"name": "Lamp", "price": None},
}


def digest_of_new_instance(prices: list[int]) -> StateDigest:
    state = Instance(aggregate_id="shop/Product/p1")
    for command in [create(command_id="c0"), *(update(payload={"n": n}, command_id=f"c{n}") for n in prices)]:
        event = decide(state, command, occurred_at=NOON)
        assert isinstance(event, Event)
        state = reduce(evolve, [event], state)
    return StateDigest.of(state)


@given(st.lists(st.integers(1, 1_000), max_size=5, unique=True))
def test_two_folds_of_the_same_events_agree(prices: list[int]):
    assert digest_of_new_instance(prices) == digest_of_new_instance(prices)


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_of_a_state_counts(name: str):
    assert StateDigest.of(replace(STATE, **{name: CHANGES[name]})).digest != StateDigest.of(STATE).digest


def test_line_is_read_back():
    digest = StateDigest.of(STATE)
    assert StateDigest.parse(digest.line + "\n") == digest


@pytest.mark.parametrize("line", ["", "shop/Product/p1 0 " + "a" * 64, "shop/Product/p1 1 abc", "a b 1 " + "a" * 64])
def test_malformed_line_is_refused(line: str):
    with pytest.raises(InputInvalid, match="state digest: expected"):
        StateDigest.parse(line)


@given(st.permutations(["Order", "Product", "Unit"]))
def test_database_root_is_independent_of_the_order(names: list[str]):
    trees = [TreeDigest(f"shop/{name}", 1, root_of([name.encode().ljust(32)])) for name in names]
    assert database_digest("shop", trees) == database_digest("shop", sorted(trees, key=lambda tree: tree.name))


def test_class_is_named_with_its_database():
    assert class_path(AggregateId.parse("shop/Product/p1")) == "shop/Product"

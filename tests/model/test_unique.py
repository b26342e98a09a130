"""Unique constraints break nothing in any reachable state, and each of their rules is needed for that."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model.search import Violation, search
from tests.model.unique import Unique
from tests.model.unique_decision import UniqueRule
from tests.model.unique_search import Interleavings
from tests.model.unique_state import Item, Kind, Order, audit

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"

A, B, C, D = range(4)
V, W = range(2)


def create(aggregate: int, *values: int) -> Item:
    return Item(Kind.CREATE, aggregate, values)


def update(aggregate: int, *values: int) -> Item:
    return Item(Kind.UPDATE, aggregate, values)


def delete(aggregate: int) -> Item:
    return Item(Kind.DELETE, aggregate)


def cover(aggregate: int) -> Item:
    return Item(Kind.COVER, aggregate)


def before(*items: Item) -> Order:
    """A command that came to its end before the search begins."""
    return Order(items, attempts=0)


def once(*items: Item) -> Order:
    return Order(items, attempts=1)


def twice(*items: Item) -> Order:
    return Order(items, attempts=2)


SMALL = {
    "two create": (Unique((twice(create(A, V)), twice(create(B, V))), lies=1, deaths=1), 53_538),
    "two swap their values": (
        Unique((before(create(A, V)), before(create(B, W)), twice(update(A, W)), twice(update(B, V))), 1, 1),
        12_879,
    ),
    "two constraints": (Unique((twice(create(A, V, W)), twice(create(B, V, W))), lies=1, deaths=1), 181_946),
    "a bulk wants one value twice": (
        Unique((twice(create(A, V), create(B, V)), twice(create(C, V))), lies=1, deaths=1),
        151_623,
    ),
    "a bulk in consecutive slots": (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A)), once(create(B, W)))),
        104_165,
    ),
    "two bulks on one aggregate": (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A, W), update(A, V)))),
        74_621,
    ),
    "a bulk lets a value go and takes it back": (
        Unique((before(create(A, V)), twice(update(A, W), update(A, V)), twice(create(B, V))), lies=1),
        169_449,
    ),
    "duplicates are covered": (
        Unique(
            (before(create(A, V)), before(create(B, V)), twice(cover(A)), twice(cover(B)), once(update(A))),
            defined=False,
        ),
        155_112,
    ),
}
"""Configurations, and how many states each has."""

LARGE = {
    "a value let go by an update, taken, and taken back": (
        Unique((before(create(A, V)), twice(update(A)), twice(create(B, V)), twice(update(A, V))), lies=1),
        1_518_830,
    ),
    "a holder deleted and created again": (
        Unique((before(create(A, V)), twice(delete(A)), twice(create(B, V)), twice(create(A, V))), lies=1),
        2_493_712,
    ),
    "two commands on one aggregate": (
        Unique((before(create(A)), twice(update(A, V)), twice(update(A, V)), twice(create(B, V)))),
        2_002_684,
    ),
    "to another slot": (
        Unique((before(create(A)), twice(update(A, V)), twice(update(A)), twice(create(B, V)))),
        1_716_662,
    ),
    "two swap their values, and one yields": (
        Unique(
            (before(create(A, V)), before(create(B, W)), twice(update(A, W)), twice(update(B, V)), twice(update(A))),
            lies=1,
        ),
        750_615,
    ),
    "two constraints, three commands": (
        Unique((twice(create(A, V, W)), twice(create(B, W)), twice(create(C, V)))),
        4_488_764,
    ),
    "two constraints, to another slot": (
        Unique((before(create(A)), twice(update(A, V, W)), twice(create(B, V, W)), once(update(A, V)))),
        831_001,
    ),
    "a bulk of three items on one aggregate": (
        Unique(
            (before(create(A)), twice(update(A, V, W), update(A), update(A, V)), once(update(A)), once(create(B, V)))
        ),
        1_944_745,
    ),
    "bulks that want each other's values": (
        Unique((twice(create(A, V, W), create(B, W)), twice(create(C, W), create(D, V, W)))),
        317_948,
    ),
    "an instance is covered while others write": (
        Unique((before(create(A, V)), twice(cover(A)), twice(update(A, V)), once(create(B, V))), defined=False),
        1_088_004,
    ),
}


@pytest.mark.parametrize(("model", "states"), SMALL.values(), ids=SMALL)
def test_no_reachable_state_breaks_a_promise(model: Unique, states: int):
    found = search(Interleavings(model))
    assert not found.violation, found
    assert found.states == states


@pytest.mark.parametrize("model", [model for model, _ in LARGE.values()], ids=LARGE)
def test_single_attempts_break_no_promise(model: Unique):
    orders = tuple(order._replace(attempts=min(order.attempts, 1)) for order in model.orders)
    found = search(Interleavings(replace(model, orders=orders)))
    assert not found.violation, found
    assert found.states > 200  # it did look


@pytest.mark.deep
@pytest.mark.parametrize(("model", "states"), LARGE.values(), ids=LARGE)
def test_no_state_of_a_bigger_model_breaks_a_promise(model: Unique, states: int):
    found = search(Interleavings(model))
    assert not found.violation, found
    assert found.states == states


BOTH_CREATE = Unique((once(create(A, V)), once(create(B, V))))

TWO_HOLDERS = "A and B hold v at the same time"

NEEDED = {
    UniqueRule.RECORD: (BOTH_CREATE, "is stuck when left alone"),
    UniqueRule.NAMED: (
        Unique((once(create(A, V)), twice(create(B, V)), once(delete(A)))),
        "C1 has another outcome than before",
    ),
    UniqueRule.LAST_READ: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.PENDING: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.LOST: (
        Unique((once(create(A, V, W)), once(create(B, W)), once(create(C, V)))),
        "C0 goes round in circles when left alone",
    ),
    UniqueRule.ENTRIES_FIRST: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.CONDITIONAL: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.OWN: (
        Unique((before(create(A)), twice(update(A, V)), once(update(A)), once(create(B, V)))),
        TWO_HOLDERS,
    ),
    UniqueRule.ORDER: (
        Unique((once(create(A, V, W)), once(create(B, V, W)))),
        "is pushed aside again and again",
    ),
    UniqueRule.PLACES_AND_SLOT: (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A)))),
        "C1 has another outcome than before",
    ),
    UniqueRule.SLOT_BEFORE: (
        Unique((before(create(A)), once(update(A, V), update(A, W)), once(update(A)), once(create(B, W)))),
        "there is a gap before it",
    ),
    UniqueRule.HELP: (BOTH_CREATE, "C1 is stuck when left alone"),
    UniqueRule.SEEN: (
        Unique((before(create(A)), before(create(B, V)), once(create(A, V))), lies=1),
        "C2 is rejected on a state that was not the head",
    ),
    UniqueRule.HOLDER_FIRST: (
        Unique((before(create(A)), once(update(A, V)), once(delete(A)), once(create(B, V)))),
        "C1 is rejected on a state that was not the head",
    ),
    UniqueRule.DEFINITION: (
        Unique((before(create(A, V)), once(cover(A)), once(update(A, V))), defined=False),
        "A/3 is under the constraint no more",
    ),
}
"""Commands that show why a rule is needed, and the violation without it."""


@pytest.mark.parametrize("rule", UniqueRule, ids=lambda rule: rule.name)
def test_without_a_rule_there_is_a_violation(rule: UniqueRule):
    model, expected = NEEDED[rule]
    assert not search(Interleavings(model)).violation
    assert expected in search(Interleavings(replace(model, without=frozenset({rule})))).violation


def test_audit_finds_an_event_without_its_entry():
    bucket = Unique((before(create(A, V)),)).start()
    audit(bucket)
    with pytest.raises(Violation, match="A/1 has its event and not its entries"):
        audit(bucket._replace(chains=((), ())))


def test_audit_finds_an_entry_followed_before_it_is_over():
    bucket = Unique((before(create(A, V)), before(create(B, W)))).start()
    audit(bucket)
    (holder,), (follower,) = bucket.chains
    with pytest.raises(Violation, match="an entry of v is followed and not over"):
        audit(bucket._replace(chains=((holder, follower), ())))


def test_protocol_page_states_each_rule_and_all_states():
    page = PROTOCOL.read_text()
    section = page.partition("## Rules for unique constraints")[2].partition("\n## ")[0]
    assert set(re.findall(r"\[`([A-Z_]+)`\]", section)) == set(UniqueRule.__members__)
    states = sum(count for _, count in (SMALL | LARGE).values())
    assert f"{states:,} states" in page

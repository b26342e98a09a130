"""Unique constraints break nothing in any reachable state, and each of their rules is needed for that."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model.search import Violation, search
from tests.model.unique import Unique
from tests.model.unique_configurations import (
    FURTHER_LARGE,
    FURTHER_SMALL,
    LARGE,
    NEEDED,
    SMALL,
    A,
    B,
    V,
    W,
    before,
    create,
)
from tests.model.unique_decision import UniqueRule
from tests.model.unique_search import Interleavings
from tests.model.unique_state import audit

pytestmark = pytest.mark.no_cover

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


@pytest.mark.parametrize(("model", "states"), SMALL.values(), ids=SMALL)
def test_no_reachable_state_breaks_a_promise(model: Unique, states: int):
    found = search(Interleavings(model))
    assert not found.violation, found
    assert found.states == states


@pytest.mark.parametrize(("model", "states"), FURTHER_SMALL.values(), ids=FURTHER_SMALL)
def test_parallel_or_redefined_breaks_no_promise(model: Unique, states: int):
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


@pytest.mark.deep
@pytest.mark.parametrize(("model", "states"), FURTHER_LARGE.values(), ids=FURTHER_LARGE)
def test_bigger_parallel_or_redefined_breaks_no_promise(model: Unique, states: int):
    found = search(Interleavings(model))
    assert not found.violation, found
    assert found.states == states


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
    for configurations in (*SMALL.values(), *LARGE.values()), (*FURTHER_SMALL.values(), *FURTHER_LARGE.values()):
        states = sum(count for _, count in configurations)
        assert f"{states:,} states" in page

"""Batches, closing and reconciliation break nothing in any reachable state, and each of their rules is needed
for that.
"""

from dataclasses import replace

import pytest

from tests.model.batch_state import Order
from tests.model.batches import Batches, BatchRule
from tests.model.protocol import Kind
from tests.model.search import search

pytestmark = pytest.mark.no_cover

CREATE, UPDATE, DELETE = Kind.CREATE, Kind.UPDATE, Kind.DELETE

SINGLE = Order(UPDATE, (0,))

MODELS = {
    "two items of one aggregate, tried twice, beside a change": Batches(
        (Order(UPDATE, (0, 0), ((2,),), attempts=2), SINGLE), (1,), stale=1
    ),
    "two aggregates beside a change of each": Batches(
        (Order(UPDATE, (0, 1), ((2,),), attempts=2), SINGLE, Order(UPDATE, (1,))), (1, 1)
    ),
    "three items on two aggregates": Batches((Order(UPDATE, (0, 1, 0), ((3,),), attempts=2), SINGLE), (1, 1), stale=1),
    "the same instance created in two chunks, and by another": Batches(
        (Order(CREATE, (0, 0), ((1, 1),), attempts=2), Order(CREATE, (0,))), (0,), stale=1, deaths=1
    ),
    "the same instance created twice in one chunk, beside a creation and a deletion": Batches(
        (Order(CREATE, (0, 0), ((2,),), attempts=2), Order(CREATE, (0,)), Order(DELETE, (0,))), (0,), stale=1
    ),
    "the same instance deleted twice in one chunk, beside a creation and a deletion": Batches(
        (Order(DELETE, (0, 0), ((2,),), attempts=2), Order(CREATE, (0,)), Order(DELETE, (0,))), (1,)
    ),
    "two releases that cut chunks differently": Batches(
        (Order(UPDATE, (0, 0), ((2,), (1, 1)), attempts=2), SINGLE), (1,), stale=1
    ),
    "two bulks on the same aggregates": Batches(
        (Order(UPDATE, (0, 1), ((2,),)), Order(UPDATE, (1, 0), ((2,),))), (1, 1), stale=1, deaths=1
    ),
    "a chunk that is looked at while the one before it is written": Batches(
        (Order(DELETE, (0, 1, 1), ((1, 2),), attempts=2), Order(CREATE, (1,)), Order(UPDATE, (0,))), (1, 1), ahead=True
    ),
    "a chunk that is looked at ahead, and the bulk asked to stop": Batches(
        (Order(UPDATE, (0, 1), ((1, 1),), attempts=2, cancelled=True), Order(UPDATE, (1,))), (1, 1), ahead=True
    ),
    "a bulk that is asked to stop": Batches(
        (Order(UPDATE, (0, 0), ((1, 1),), attempts=2, cancelled=True), SINGLE), (1,), stale=1
    ),
    "a bulk whose workflow is terminated, the sweep beside its zombies": Batches(
        (Order(UPDATE, (0, 0), ((1, 1),), attempts=2, terminated=True), SINGLE), (1,), sweeps=1
    ),
    "single commands whose workflows are terminated, the sweep beside their zombies": Batches(
        (Order(UPDATE, (0,), attempts=2, terminated=True), Order(DELETE, (0,), terminated=True)), (1,), sweeps=1
    ),
    "a batch is published, Redis emptied": Batches(
        (Order(UPDATE, (0, 0), ((2,),)), SINGLE), (1,), streams=True, losses=1
    ),
    "a terminated bulk is published by the sweep, Redis emptied": Batches(
        (Order(UPDATE, (0, 0), ((2,),), terminated=True), Order(CREATE, (1,))), (1, 0), streams=True, losses=1
    ),
}

BIG = {
    "a batch is tried twice and published, Redis emptied": Batches(
        (Order(UPDATE, (0, 0), ((2,),), attempts=2), SINGLE), (1,), streams=True, losses=1
    ),
    "a terminated bulk beside a change, published by two sweeps, Redis emptied": Batches(
        (Order(UPDATE, (0, 0), ((2,),), terminated=True), SINGLE), (1,), streams=True, losses=1, sweeps=1
    ),
    "two bulks on the same aggregates, each tried twice": Batches(
        (Order(UPDATE, (0, 1), ((2,),), attempts=2), Order(UPDATE, (1, 0), ((2,),), attempts=2)), (1, 1)
    ),
    "two bulks on the same aggregates, a death, a head that is out of date": Batches(
        (Order(UPDATE, (0, 1, 0), ((3,),), attempts=2), Order(UPDATE, (1, 0), ((2,),))), (1, 1), stale=1, deaths=1
    ),
    "two chunks on two aggregates, stopped, terminated and swept": Batches(
        (Order(UPDATE, (0, 1, 0), ((2, 1),), attempts=2, cancelled=True, terminated=True), SINGLE), (1, 1), sweeps=1
    ),
    "a bulk of deletions beside one of creations": Batches(
        (Order(DELETE, (0, 1, 0), ((2, 1),), attempts=2), Order(CREATE, (0, 1), ((2,),), attempts=2)), (1, 1)
    ),
    "a bulk of deletions beside one of creations and a change, a death": Batches(
        (Order(DELETE, (0, 1, 0), ((2, 1),), attempts=2), Order(CREATE, (0, 1), ((2,),)), SINGLE), (1, 1), deaths=1
    ),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_reachable_state_breaks_a_promise(model: Batches):
    found = search(model)
    assert not found.violation, found
    assert found.states > 1_000  # it did look


@pytest.mark.deep
@pytest.mark.parametrize("model", BIG.values(), ids=BIG)
def test_no_reachable_state_of_a_bigger_model_breaks_a_promise(model: Batches):
    found = search(model)
    assert not found.violation, found
    assert found.states > 50_000


TWICE = Order(UPDATE, (0, 0), ((1, 1),), attempts=2, terminated=True)

NEEDED = {
    BatchRule.PLAN: (MODELS["two releases that cut chunks differently"], "does not hold its event"),
    BatchRule.VOID: (
        MODELS["the same instance created twice in one chunk, beside a creation and a deletion"],
        "rejected for what never was",
    ),
    BatchRule.ALL_ENDED_BEFORE_NEXT: (MODELS["two aggregates beside a change of each"], "does not hold its event"),
    BatchRule.OWN_BY_ITEM: (
        MODELS["the same instance created in two chunks, and by another"],
        "does not hold its event",
    ),
    BatchRule.PUT_IN_ORDER: (MODELS["three items on two aggregates"], "without a predecessor"),
    BatchRule.SEEN: (Batches((Order(CREATE, (0,)), Order(DELETE, (0,))), (1,)), "never was the head"),
    BatchRule.CLOSE_BY_RECORD: (Batches((TWICE,), (1,), sweeps=1), "first, and then"),
    BatchRule.METADATA: (MODELS["a batch is published, Redis emptied"], "out of order"),
    BatchRule.SWEEP: (Batches((TWICE,), (1,), sweeps=1), "nobody brought it to its end"),
}


@pytest.mark.parametrize("rule", BatchRule)
def test_without_a_rule_there_is_a_violation(rule: BatchRule):
    model, expected = NEEDED[rule]
    assert not search(model).violation
    assert expected in search(replace(model, without=frozenset({rule}))).violation


def test_item_after_a_conflict_would_overtake_unless_invalidated():
    model = MODELS["two items of one aggregate, tried twice, beside a change"]
    assert "overtook" in search(replace(model, without=frozenset({BatchRule.VOID}))).violation

"""Nothing breaks in any reachable state of the model, and each rule is needed for that."""

import pytest

from tests.model.protocol import Kind, Model, Rule
from tests.model.search import search

pytestmark = pytest.mark.no_cover

CREATE, UPDATE, DELETE, PUT = Kind

MODELS = {
    "a new instance and its first change, each tried twice": Model((CREATE, UPDATE), (2, 2)),
    "two that create, Redis emptied": Model((CREATE, CREATE), (2, 1), losses=1),
    "one that creates beside a change, a death and a lease that runs out": Model(
        (CREATE, UPDATE), (2, 1), deaths=1, expiries=1
    ),
    "two that create, everything lost once": Model((CREATE, CREATE), (1, 1), losses=1, deaths=1, expiries=1),
    "a change beside a deletion, Redis emptied or rolled back": Model((UPDATE, DELETE), (2, 1), born=2, losses=1),
    "a change beside a deletion, Redis wrong in every way": Model(
        (UPDATE, DELETE), (1, 1), born=2, losses=1, overstatements=1, expiries=1
    ),
    "two changes while Kafka is silent, a death, Redis emptied": Model(
        (UPDATE, UPDATE), (1, 1), born=1, silences=2, deaths=1, losses=1
    ),
    "a deletion and a new creation while Kafka is silent": Model(
        (DELETE, CREATE), (1, 1), born=1, silences=1, deaths=1, losses=1
    ),
    "a new instance and its first change, the topic made anew": Model((CREATE, UPDATE), (2, 1), remakes=1),
    "two changes, the topic made anew, Redis emptied": Model((UPDATE, UPDATE), (1, 1), born=2, losses=1, remakes=1),
    "a change tried twice while Kafka is silent, the topic made anew": Model(
        (UPDATE,), (2,), born=2, silences=1, losses=1, remakes=1
    ),
    "two changes, one tried twice, a release that decides otherwise": Model(
        (UPDATE, UPDATE), (2, 1), born=1, releases=2
    ),
    "two of one's own, each of which may be the first, everything lost once": Model(
        (PUT, UPDATE), (1, 1), born=2, losses=1, deaths=1, expiries=1, own=True
    ),
    "two of one's own on a new aggregate, a release that decides otherwise": Model(
        (PUT, PUT), (2, 1), losses=1, releases=1, own=True
    ),
    "one of one's own, the topic made anew, Redis emptied": Model(
        (PUT, CREATE), (1, 1), born=1, losses=1, remakes=1, own=True
    ),
    "three at once": Model((DELETE, CREATE, UPDATE), (1, 1, 1), born=1, losses=1),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_reachable_state_breaks_a_promise(model: Model):
    found = search(model)
    assert not found.violation, found
    assert found.states > 1_000  # it did look


NEEDED = {
    Rule.CONDITIONAL: "overwritten",
    Rule.PREDECESSOR: "without a predecessor",
    Rule.INTENT: "two events",
    Rule.FURTHER_RECORD: "two events",
    Rule.DECIDED: "other bytes",
    Rule.RANGE: "out of order",
    Rule.ACKNOWLEDGED: "overstates",
    Rule.METADATA: "overstates",
    Rule.GENERATION: "out of order",
    Rule.SEEN: "never was the head",
}


@pytest.mark.parametrize("rule", NEEDED)
def test_without_a_rule_there_is_a_violation(rule: Rule):
    kinds = (DELETE, CREATE) if rule is Rule.SEEN else (UPDATE, UPDATE)
    model = Model(kinds, (2, 1), born=2, losses=1, expiries=1, silences=1, overstatements=1, without=frozenset({rule}))
    if rule is Rule.DECIDED:
        model = Model((UPDATE,), (2,), born=2, releases=1, losses=1, without=frozenset({rule}))
    if rule is Rule.GENERATION:
        model = Model((UPDATE,), (1,), born=2, losses=1, remakes=1, without=frozenset({rule}))
    assert NEEDED[rule] in search(model).violation


def test_turns_are_for_speed_only():
    assert {*NEEDED, Rule.TURN} == set(Rule)
    model = Model((UPDATE, UPDATE), (2, 1), born=1, silences=1, without=frozenset({Rule.TURN}))
    assert not search(model).violation

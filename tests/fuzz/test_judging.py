"""No permitted input holds up the event loop, or takes more memory than permitted, whatever its shape and size."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factline.domain.events import DefinitionReference
from factline.domain.instance import Instance
from factline.domain.ontology.definition import ClassDefinition
from factline.domain.ontology.rules import Rules
from factline.domain.results import Rejection
from factline.errors import InputInvalid
from factline.pipeline.judge import Judge, shared_process
from tests.classes import define
from tests.commands import create
from tests.domain.schema_strategies import changed
from tests.fuzz.clock import LOOP_S_MAX, MEMORY_BYTES_MAX, Held, Memory, machine_factor, ticking
from tests.fuzz.inputs import large_documents, large_schemas
from tests.pipeline.world import NOON

CLASS = Instance(aggregate_id="shop/_class/Product")
#: Measured times are those of an unoptimised interpreter that shares its caches with others.
GENEROUS = 3


async def judged(old: dict[str, Any], new: dict[str, Any], data: dict[str, Any]) -> Held:
    """Define a class, define it otherwise, and create an instance of it; each as the worker decides it."""
    held, judge = Held(), Judge()

    async def decide(state: Instance, command: Any, rules: Rules | None) -> Any:
        return await ticking(judge.decide(state, command, occurred_at=NOON, rules=rules), held)

    first = {"version": "1.0.0", "schema": old}
    made = await decide(CLASS, define(first), None)
    if isinstance(made, Rejection):
        return held
    state = replace(CLASS, sequence_number=1, data=first)
    for version in ("1.1.0", "2.0.0"):
        await decide(state, define({"version": version, "schema": new}), None)
    reference = DefinitionReference(sequence_number=1, version="1.0.0")
    rules = Rules(reference, ClassDefinition.model_validate(first), ((1, ()),))
    if rules.is_large:
        await ticking(asyncio.to_thread(rules.prepare), held)
    await decide(Instance(aggregate_id="shop/Product/p1"), create("p1", data), rules)
    return held


def hold_to_the_clock(old: dict[str, Any], new: dict[str, Any], data: dict[str, Any]) -> None:
    try:
        create("p1", data)
    except (ValueError, InputInvalid):
        data = {"all": []}  # refused at the door
    factor = machine_factor()
    with Memory(shared_process().pid) as memory:
        held = asyncio.run(judged(old, new, data))
    assert held.longest_s < LOOP_S_MAX * factor * GENEROUS, (held, factor)
    assert memory.peak_bytes < MEMORY_BYTES_MAX


QUIET = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@settings(QUIET, max_examples=15)
@given(large_schemas(), large_schemas(), large_documents())
def test_no_input_holds_up_the_loop(old: dict[str, Any], new: dict[str, Any], data: dict[str, Any]):
    hold_to_the_clock(old, new, data)


@pytest.mark.deep
@settings(QUIET, max_examples=1_000)
@given(large_schemas(), st.data())
def test_no_input_holds_up_the_loop_searched(old: dict[str, Any], drawn: st.DataObject):
    new = drawn.draw(large_schemas() | changed(old))
    hold_to_the_clock(old, new if isinstance(new, dict) else old, drawn.draw(large_documents()))

"""No permitted input holds up the event loop, or takes more memory than permitted, whatever its shape and size."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from oncelog.domain.commands import Command
from oncelog.domain.events import DefinitionReference
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.definition import ClassDefinition
from oncelog.domain.results import Rejection
from oncelog.errors import InputInvalid
from oncelog.write.judge import Judge, shared_processes
from tests.classes import define
from tests.commands import create
from tests.domain.schema_strategies import changed
from tests.fuzz.clock import (
    LOOP_S_MAX,
    MEMORY_BYTES_MAX,
    Held,
    Memory,
    garbage_as_in_a_worker,
    machine_factor,
    ticking,
)
from tests.fuzz.inputs import large_documents, large_schemas
from tests.write.world import NOON

CLASS = Instance(aggregate_id="shop/_class/Product")
REFERENCE = DefinitionReference(sequence_number=1, version="1.0.0")
#: Measured times are those of an unoptimised interpreter that shares its caches with others.
GENEROUS = 3


async def judged(commands: list[Command], class_schema: ClassSchema) -> Held:
    """Define a class, define it otherwise, and create an instance of it; each as the worker decides it."""
    held, judge = Held(), Judge()
    first, *others, creating = commands

    async def decide(state: Instance, command: Command, known: ClassSchema | None) -> Any:
        return await ticking(judge.decide(state, command, occurred_at=NOON, class_schema=known), held)

    made = await decide(CLASS, first, None)
    if isinstance(made, Rejection):
        return held
    state = replace(CLASS, sequence_number=1, data=first.payload)
    for command in others:
        await decide(state, command, None)
    if class_schema.is_large:
        await ticking(asyncio.to_thread(class_schema.prepare), held)
    await decide(Instance(aggregate_id="shop/Product/p1"), creating, class_schema)
    return held


def hold_to_the_clock(old: dict[str, Any], new: dict[str, Any], data: dict[str, Any]) -> None:
    try:
        creating = create("p1", data)
    except ValueError:  # refused at the door
        creating = create("p1", {"all": []})
    first = {"version": "1.0.0", "schema": old}
    class_schema = ClassSchema(REFERENCE, ClassDefinition.model_validate(first), ((1, ()),))
    try:
        defining = [define(first), *(define({"version": version, "schema": new}) for version in ("1.1.0", "2.0.0"))]
    except InputInvalid:  # refused at the door, so that nothing judges it
        reject()
    asyncio.run(shared_processes().ask("decide", (CLASS, define({})), None, occurred_at=NOON))  # all is imported now
    factor = machine_factor()
    with garbage_as_in_a_worker(), Memory(shared_processes().quick.pid) as memory:
        held = asyncio.run(judged([*defining, creating], class_schema))
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

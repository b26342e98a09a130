"""No permitted document holds up the event loop on its way through the command path and into the read model."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings

from tests.commands import create
from tests.fuzz.clock import LOOP_S_MAX, Held, garbage_as_in_a_worker, machine_factor, ticking
from tests.fuzz.inputs import large_documents
from tests.fuzz.test_judging import GENEROUS, QUIET
from tests.write.world import World


def hold_command_path_to_the_clock(data: dict[str, Any]) -> None:
    try:
        command = create("p1", data)
    except ValueError:  # refused at the door
        return
    held, world = Held(), World()
    factor = machine_factor()
    with garbage_as_in_a_worker():
        asyncio.run(ticking(world.process().complete(command), held))
    assert held.longest_s < LOOP_S_MAX * factor * GENEROUS, (held, factor)


@settings(QUIET, max_examples=10)
@given(large_documents())
def test_no_document_holds_up_the_command_path(data: dict[str, Any]):
    hold_command_path_to_the_clock(data)


@pytest.mark.deep
@settings(QUIET, max_examples=300)
@given(large_documents())
def test_no_document_holds_up_the_command_path_searched(data: dict[str, Any]):
    hold_command_path_to_the_clock(data)

"""Commands that take long to decide are decided in a process of their own, alike and without harm to others."""

import asyncio
import os
import signal
from typing import Any

import pytest

from oncelog.domain.decide import decide
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import TakesLongError
from oncelog.domain.results import Outcome, Rejection, RejectionCode
from oncelog.errors import StoreUnavailable
from oncelog.write.judge import JudgeProcess, shared_process
from tests.bulks import bulk_create, item
from tests.classes import define
from tests.commands import create, update
from tests.write.bulks import check_results, run_bulk
from tests.write.world import NOON, World

LONG = {f"k{number}": "x" * 100 for number in range(500)}


def costly_definition() -> dict[str, Any]:
    values = [{"n": number} for number in range(300)]
    schema = {"type": "object", "properties": {"all": {"type": "array", "items": {"enum": values}}}}
    return {"version": "1.0.0", "schema": schema}


def decide_hurriedly(command: Any, state: Instance | None = None) -> Any:
    found = state or Instance(aggregate_id=str(command.aggregate_id))
    return decide(found, command, occurred_at=NOON, hurried=True)


def test_small_commands_are_decided_at_once():
    decide_hurriedly(create("p1", {"name": "Globe"}))
    decide_hurriedly(define({"version": "1.0.0", "schema": {"type": "object", "properties": {"a": {}}}}))


@pytest.mark.parametrize(
    "command",
    [
        create("p1", LONG),
        define(costly_definition()),
        define({"version": "1.0.0", "schema": {"type": "object", "properties": {"a": {"pattern": "x{9}"}}}}),
    ],
    ids=["data", "definition", "pattern"],
)
def test_long_commands_are_decided_elsewhere(command: Any):
    with pytest.raises(TakesLongError):
        decide_hurriedly(command)


async def test_long_command_comes_to_the_same_event():
    world = World()
    command = create("p1", LONG)
    assert (await world.process().complete(command)).outcome is Outcome.APPLIED
    (event,) = world.logs()["shop/Product/p1"]
    assert event == decide(Instance(aggregate_id="shop/Product/p1"), command, occurred_at=NOON)
    assert (await world.process().complete(update("p1", {"more": 1}))).outcome is Outcome.APPLIED
    world.check()


async def test_costly_rules_are_judged_elsewhere():
    world = World()
    await world.process().complete(define(costly_definition()))
    valid = await world.process().complete(create("p1", {"all": [{"n": 1}, {"n": 299}] * 100}))
    wrong = await world.process().complete(create("p2", {"all": [{"n": 1}, {"n": 300}] * 100}))
    assert valid.outcome is Outcome.APPLIED
    assert wrong.rejection is not None
    assert wrong.rejection.code is RejectionCode.PAYLOAD_INVALID
    assert wrong.rejection.details["errors_count"] == 100
    world.check()


async def test_long_bulk_items_are_applied():
    world = World()
    result = await run_bulk(world, bulk_create(item("p1", LONG), item("p2", {"n": 1}), item("p3", {"n": LONG})))
    assert result.counts.applied == 3
    check_results(world, result)


async def test_killed_judge_is_started_again():
    judge = shared_process()
    args = (Instance(aggregate_id="shop/Product/p1"), create("p1", LONG))
    await judge.ask("decide", args, None, occurred_at=NOON)
    running = judge._process
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    await asyncio.to_thread(running.wait)
    event = await judge.ask("decide", args, None, occurred_at=NOON)
    assert not isinstance(event, Rejection)


async def test_deadline_of_the_judge_is_no_rejection():
    judge = JudgeProcess(deadline_s=0.001)
    args = (Instance(aggregate_id="shop/Product/p1"), create("p1", LONG))
    with pytest.raises(StoreUnavailable, match="longer than"):
        await judge.ask("decide", args, None, occurred_at=NOON)


async def test_errors_of_a_decision_are_raised_here():
    with pytest.raises(KeyError):
        await shared_process().ask("nothing", (), None)

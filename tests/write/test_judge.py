"""Commands that take long to decide are decided in a process of their own, alike and without harm to others."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import Any

import pytest

from oncelog.bulk.run import Progress
from oncelog.domain.decide import decide
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema, TakesLongError
from oncelog.domain.results import Outcome, Rejection, RejectionCode
from oncelog.errors import DecisionOverdue, StoreUnavailable
from oncelog.settings import Settings
from oncelog.write import judge
from oncelog.write.judge import JudgeProcesses, shared_processes
from tests.bulks import bulk_create, bulk_update, item
from tests.classes import define
from tests.commands import create, update
from tests.domain.test_judging_budget import class_schema
from tests.write.bulks import Attempt, check_results, run_bulk
from tests.write.world import NOON, World

LONG = {f"k{number}": "x" * 100 for number in range(500)}
LONG_QUESTION = (Instance(aggregate_id="shop/Product/p1"), create("p1", LONG))


def slow_input() -> tuple[ClassSchema, dict[str, Any]]:
    """Return a class and wrong data that take some hundredths of a second to judge."""
    schema = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(4_000)}}
    return class_schema(schema), {f"p{number}": number for number in range(4_000)}


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


async def test_overdue_item_stops_its_bulk_command_alone(monkeypatch: pytest.MonkeyPatch):
    world = World(settings=Settings(bulk_chunk_items_max=1))
    await world.process().complete(define(costly_definition()))
    costly = {"all": [{"n": 1}, {"n": 299}] * 100}
    bulk = bulk_create(item("p1", {"all": []}), item("p2", costly), item("p3", {"all": []}))
    overdue = JudgeProcesses(quick_cpu_s=0.001, deadline_cpu_s=0.002)
    with monkeypatch.context() as patch:
        patch.setattr(judge, "shared_processes", lambda: overdue)
        reached = await Attempt(world.process()).run(bulk)
        assert isinstance(reached, Progress), "it ends where it cannot go on"
        with pytest.raises(DecisionOverdue, match="shop/Product/p2"):
            await Attempt(world.process()).run(bulk, reached)
        assert (await world.process().complete(create("p4", {"all": []}))).outcome is Outcome.APPLIED
    assert {"shop/Product/p1", "shop/Product/p4"} <= world.logs().keys()
    assert "shop/Product/p2" not in world.logs()
    result = await run_bulk(world, bulk)  # the next attempt, on a worker that is fast enough
    assert result.counts.applied == 3
    check_results(world, result)


async def test_many_costly_items_of_one_aggregate_are_asked_alone(monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    class Counted(JudgeProcesses):
        async def ask(self, name: str, args: Any, class_schema: ClassSchema | None, **options: Any) -> Any:
            asked.append(args[1])
            return await super().ask(name, args, class_schema, **options)

    processes = Counted()
    monkeypatch.setattr(judge, "shared_processes", lambda: processes)
    world = World()
    await world.process().complete(create("p1", LONG))
    asked.clear()
    result = await run_bulk(world, bulk_update(*(item("p1", {f"new{number}": "x"}) for number in range(5))))
    assert result.counts.applied == 5
    assert len(asked) == 5
    check_results(world, result)
    processes.quick.close()


async def test_killed_judge_is_started_again():
    judges = JudgeProcesses()
    await judges.ask("decide", LONG_QUESTION, None, occurred_at=NOON)
    os.kill(judges.quick.pid, signal.SIGKILL)
    event = await asked_until_answered(judges)
    assert not isinstance(event, Rejection)
    judges.quick.close()


async def asked_until_answered(judges: JudgeProcesses) -> Any:
    while True:
        with suppress(StoreUnavailable):
            return await judges.ask("decide", LONG_QUESTION, None, occurred_at=NOON)


async def test_overdue_decision_is_no_rejection():
    judges = JudgeProcesses(quick_cpu_s=0.001, deadline_cpu_s=0.002)
    schema, data = slow_input()
    args = (Instance(aggregate_id="shop/Product/p1"), create("p1", data))
    with pytest.raises(DecisionOverdue, match="shop/Product/p1") as caught:
        await judges.ask("decide", args, schema, occurred_at=NOON)
    assert caught.value.retryable


async def test_slow_question_goes_on_without_holding_up_others():
    judges = JudgeProcesses(quick_cpu_s=0.001)
    schema, data = slow_input()
    args = (Instance(aggregate_id="shop/Product/p1"), create("p1", data))
    decision = await judges.ask("decide", args, schema, occurred_at=NOON)
    assert isinstance(decision, Rejection)
    quick = judges.quick._process
    assert await judges.ask("decide", args, schema, occurred_at=NOON) == decision
    assert judges.quick._process is quick  # it was not asked again
    judges.slow.close()


async def test_next_attempt_takes_the_answer_of_a_cancelled_one():
    judges = JudgeProcesses()
    schema, data = slow_input()

    def attempt() -> asyncio.Task[Any]:  # each parses the command anew, as an attempt does
        args = (Instance(aggregate_id="shop/Product/p1"), create("p1", json.loads(json.dumps(data)), command_id="c1"))
        return asyncio.create_task(judges.ask("decide", args, schema, occurred_at=NOON))

    first = attempt()
    while not judges.quick._answers:
        await asyncio.sleep(0)
    (future,) = judges.quick._answers.values()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    value, error = await asyncio.wrap_future(future)
    assert error is None
    assert await attempt() is value
    assert not judges.quick._answers
    judges.quick.close()


async def test_errors_of_a_decision_are_raised_here():
    with pytest.raises(KeyError):
        await shared_processes().ask("nothing", LONG_QUESTION, None)

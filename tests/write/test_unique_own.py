"""Unique values of aggregates of one's own, given by functions of their states, on servers in memory."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from oncelog.domain.aggregates import registered
from oncelog.domain.commands import Command
from oncelog.domain.events import sealed_event
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.errors import AggregateDefect, EventFromFuture, InputInvalid
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.classes import WHOLE, define, schema
from tests.own_domain import ACCOUNT, account_command
from tests.write.test_crashes import Crashed, crash_after
from tests.write.world import World

#: One account of each owner, and no two of the same balance that is above 100.
UNIQUE = replace(
    ACCOUNT,
    unique={
        "owner": lambda account: account.owner or None,
        "fortune": lambda account: account.balance if account.balance > 100 else None,
    },
)


@pytest.fixture
def world() -> Iterator[World]:
    with registered(UNIQUE):
        yield World()


def deposit(instance_id: str, amount: int, owner: str, **more: Any) -> Command:
    payload = {"amount": amount, "owner": owner}
    return account_command("DEPOSIT", amount, instance_id=instance_id, payload=payload, **more)


def refused(result: CommandResult) -> tuple[str, Any, Any] | None:
    if result.rejection is None:
        return None
    details = result.rejection.details
    return result.rejection.code, details.get("constraint"), details.get("holder")


async def test_second_account_of_an_owner_is_refused(world: World):
    assert (await world.process().run(deposit("a1", 1, "u1"))).outcome is Outcome.APPLIED
    second = await world.process().run(deposit("a2", 1, "u1"))
    assert refused(second) == (RejectionCode.UNIQUE_VIOLATED, "owner", "shop/Account/a1")
    assert (await world.process().run(deposit("a1", 5, "u2"))).outcome is Outcome.APPLIED
    assert (await world.process().run(deposit("a2", 1, "u1"))).outcome is Outcome.APPLIED
    world.check()


async def test_event_whose_constraints_were_altered_is_found(world: World):
    await world.process().run(deposit("a1", 1, "u1"))
    (key,) = [key for key in world.bucket.objects if key.startswith("events/")]
    event = json.loads(world.bucket.objects[key].body)
    del event["constraints"], event["checksum"]
    world.bucket.objects[key] = StoredObject(sealed_event(**event).canonical)
    codes = {finding.code for finding in world.audit().judge()}
    assert Code.EVENT_FORGED in codes


async def test_value_of_several_events_is_unique_as_the_state_has_it(world: World):
    process = world.process()
    await process.run(deposit("a1", 150, "u1"))
    await process.run(deposit("a2", 100, "u2"))
    third = await process.run(deposit("a2", 50, "u2"))
    assert refused(third) == (RejectionCode.UNIQUE_VIOLATED, "fortune", "shop/Account/a1")
    await process.run(account_command("WITHDRAW", 100, instance_id="a1"))
    assert (await process.run(deposit("a2", 50, "u2"))).outcome is Outcome.APPLIED


async def test_event_says_which_constraints_it_was_decided_under(world: World):
    with registered(ACCOUNT):
        await world.process().run(deposit("a1", 1, "u1"))
    await world.process().run(deposit("a2", 1, "u2"))
    events = [json.loads(world.bucket.objects[key].body) for key in sorted(world.bucket.objects) if "events/" in key]
    assert [event.get("constraints") for event in events] == [None, ["fortune", "owner"]]


async def test_older_instance_is_covered_by_its_next_command(world: World):
    with registered(ACCOUNT):
        await world.process().run(deposit("a1", 1, "u1"))
    assert (await world.process().run(deposit("a2", 1, "u1"))).outcome is Outcome.APPLIED
    late = await world.process().run(deposit("a1", 1, "u1"))
    assert refused(late) == (RejectionCode.UNIQUE_VIOLATED, "owner", "shop/Account/a2")


async def test_code_without_a_constraint_leaves_its_aggregates_waiting(world: World):
    """V6: an event that is not decided under it would let go what the aggregate holds."""
    await world.process().run(deposit("a1", 1, "u1"))
    with registered(replace(UNIQUE, unique={"fortune": UNIQUE.unique["fortune"]})):
        with pytest.raises(EventFromFuture, match="unique constraints owner"):
            await world.process().run(deposit("a1", 1, "u1"))
        assert (await world.process().run(deposit("a3", 1, "u3"))).outcome is Outcome.APPLIED
    assert refused(await world.process().run(deposit("a2", 1, "u1"))) is not None


async def test_constraint_that_is_dropped_lets_its_values_go(world: World):
    await world.process().run(deposit("a1", 1, "u1"))
    with registered(replace(UNIQUE, dropped=["owner"])):
        assert (await world.process().run(deposit("a1", 1, "u1"))).outcome is Outcome.APPLIED
        assert (await world.process().run(deposit("a2", 1, "u1"))).outcome is Outcome.APPLIED
        world.check()


async def test_instance_of_before_its_constraint_is_found_uncovered(world: World):
    with registered(ACCOUNT):
        await world.process().run(deposit("a1", 1, "u1"))
    findings = [finding for finding in world.audit().judge() if finding.code is Code.INSTANCE_UNCOVERED]
    assert [finding.where for finding in findings] == ["aggregate shop/Account/a1"]
    await world.process().run(deposit("a1", 1, "u1"))
    assert Code.INSTANCE_UNCOVERED not in {finding.code for finding in world.audit().judge()}


@pytest.mark.parametrize("step", ["record", "persist"])
async def test_dead_command_is_completed_from_its_record(world: World, step: str):
    """Its event is in the record, whatever the code decides by now; its constraints are, too."""
    command = deposit("a1", 1, "u1")
    with pytest.raises(Crashed):
        await world.process().commit(command, after_step=crash_after(step))
    world.redis.flush()
    second = await world.process().run(deposit("a2", 1, "u1"))
    first = await world.process().run(command)
    assert {first.outcome, second.outcome} == {Outcome.APPLIED, Outcome.REJECTED}


async def test_definition_of_the_class_and_functions_hold_together(world: World):
    definition = {"version": "1.0.0", "schema": {**schema(balance=WHOLE), "additionalProperties": True}}
    await world.process().run(define({**definition, "unique": {"balance": ["/balance"]}}, class_id="Account"))
    await world.process().run(deposit("a1", 7, "u1"))
    same = await world.process().run(deposit("a2", 7, "u2"))
    assert refused(same) == (RejectionCode.UNIQUE_VIOLATED, "balance", "shop/Account/a1")


async def test_value_that_is_too_long_is_refused(world: World):
    with registered(replace(UNIQUE, unique={"owner": lambda account: account.owner * 200})):
        result = await world.process().run(deposit("a1", 1, "u" * 10))
    assert refused(result) == (RejectionCode.PAYLOAD_INVALID, "owner", None)


async def test_function_that_gives_no_scalar_is_a_defect(world: World):
    defective = replace(UNIQUE, unique={"owner": lambda account: {"name": account.owner}})
    with registered(defective), pytest.raises(AggregateDefect, match="unique owner"):
        await world.process().run(deposit("a1", 1, "u1"))


def test_dropped_constraint_is_one_that_was_there():
    with pytest.raises(InputInvalid, match="dropped"):
        replace(UNIQUE, dropped=["email"])


def test_name_of_a_constraint_is_a_name():
    with pytest.raises(InputInvalid, match="unique constraints"):
        replace(ACCOUNT, unique={"the owner": lambda account: account.owner})

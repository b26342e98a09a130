"""Classes defined, evolved and retired while commands on their instances run, on servers in memory."""

import asyncio

import pytest

from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.events import DefinitionReference, Effect, content_of
from oncelog.domain.records import CommandRecord
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.replay import class_schemas
from oncelog.settings import Settings
from tests.bulks import bulk_create
from tests.classes import FIRST, SECOND, WIDER, define, retire
from tests.commands import create, delete, update
from tests.write.bulks import Attempt
from tests.write.world import Process, World


@pytest.fixture
def world() -> World:
    return World()


def code(result: CommandResult) -> str | None:
    return result.rejection.code if result.rejection else None


async def test_a_class_is_an_aggregate_like_any_other(world: World):
    process = world.process()
    for command in (define(FIRST), define(WIDER), retire()):
        assert (await process.run(command)).outcome is Outcome.APPLIED
    (events,) = world.check().values()
    assert [event.event_type for event in events] == ["CLASS_DEFINED", "CLASS_DEFINED", "CLASS_RETIRED"]
    assert {event.aggregate_id for event in events} == {"shop/_class/Product"}
    world.check_document(define(FIRST).aggregate_id)
    (document,) = world.documents.indices["shop._class"].values()
    assert (document.body["deleted"], document.body["data"]["version"]) == (True, "1.1.0")


async def test_from_its_definition_on_every_process_validates(world: World):
    here, elsewhere = world.process(), world.process()
    assert (await elsewhere.run(create("p0", {"any": "thing"}))).outcome is Outcome.APPLIED
    await here.run(define(FIRST))
    for process in (here, elsewhere, world.process()):
        refused = await process.run(create(payload={"price": 7}))
        assert code(refused) is RejectionCode.PAYLOAD_INVALID
        assert refused.rejection is not None
        assert {each["at"] for each in refused.rejection.details["errors"]} == {"", "/price"}
    assert (await elsewhere.run(create("p2", {"name": "Lamp"}))).outcome is Outcome.APPLIED
    world.check()


async def test_an_update_is_judged_by_what_it_makes_of_the_instance(world: World):
    process = world.process()
    await process.run(define(FIRST))
    await process.run(create(payload={"name": "Lamp"}))
    assert code(await process.run(update(payload={"name": None}))) is RejectionCode.PAYLOAD_INVALID
    assert (await process.run(update(payload={"price": "7"}))).outcome is Outcome.APPLIED


async def test_a_retired_class_lets_its_instances_go_and_takes_none(world: World):
    process, elsewhere = world.process(), world.process()
    await process.run(define(FIRST))
    await elsewhere.run(create(payload={"name": "Lamp"}))
    await process.run(retire())
    assert code(await elsewhere.run(create("p2", {"name": "Lamp"}))) is RejectionCode.CLASS_RETIRED
    assert code(await elsewhere.run(update(payload={"price": "1"}))) is RejectionCode.CLASS_RETIRED
    assert (await elsewhere.run(delete())).outcome is Outcome.APPLIED
    assert (await process.run(define(WIDER))).outcome is Outcome.APPLIED
    assert (await elsewhere.run(create("p2", {"name": "Lamp"}))).outcome is Outcome.APPLIED
    world.check()


async def test_what_breaks_is_refused_and_recorded_for_ever(world: World):
    process = world.process()
    await process.run(define(FIRST))
    command = define({**SECOND, "migration": []})
    refused = await process.run(command)
    assert code(refused) is RejectionCode.SCHEMA_INCOMPATIBLE
    assert refused.rejection is not None
    assert [each["at"] for each in refused.rejection.details["breaks"]] == ["/properties/price", "/required"]
    await process.run(define(SECOND))
    world.redis.flush()
    assert await world.process().commit(command) == refused


async def test_the_record_and_the_event_say_what_was_decided_under(world: World):
    process = world.process()
    await process.run(define(FIRST))
    command = create(payload={"name": "Lamp"})
    await process.run(command)
    record = await process.ports.records.read_record(command.command_id, 1)
    assert isinstance(record, CommandRecord)
    event = world.logs()["shop/Product/p1"][0]
    first = DefinitionReference(sequence_number=1, version="1.0.0")
    assert record.definition == content_of(event).definition == first


async def test_attempt_decides_under_the_recorded_definition(world: World):
    """It dies between record and slot; meanwhile a new MAJOR comes under which the command would be refused."""
    process = world.process()
    await process.run(define(FIRST))
    command = create(payload={"name": "Lamp", "price": "12"})

    async def die(step: str) -> None:
        if step == "record":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await process.commit(command, after_step=die)
    world.redis.leases.clear()
    await world.process().run(define(SECOND))
    assert (
        code(await world.process().run(create("p2", {"name": "Lamp", "price": "12"}))) is RejectionCode.PAYLOAD_INVALID
    )
    results = await asyncio.gather(*(world.process().run(command) for _ in range(3)))
    assert {result.sequence_number for result in results} == {1}
    event = world.logs()["shop/Product/p1"][0]
    assert content_of(event).definition == DefinitionReference(sequence_number=1, version="1.0.0")
    world.check()


async def test_update_over_a_new_major_carries_the_migration(world: World):
    process = world.process()
    await process.run(create("old", {"name": "Chair", "price": "5"}))
    await process.run(define(FIRST))
    await process.run(create(payload={"name": "Lamp", "price": "12.50"}))
    await process.run(define(SECOND))
    for name, cost in (("p1", 12.5), ("old", 5)):
        assert (await world.process().run(update(name, {"colour": "red"}))).outcome is Outcome.APPLIED
        event = world.logs()[f"shop/Product/{name}"][1]
        assert (content_of(event).effect, event.data["cost"]) == (Effect.REPLACE, cost)
    assert (await process.run(update(payload={"colour": "blue"}))).outcome is Outcome.APPLIED
    assert content_of(world.logs()["shop/Product/p1"][2]).effect is Effect.MERGE
    world.check()


async def test_no_aggregate_goes_back_to_an_earlier_definition(world: World):
    """A process that has not heard of a definition meets an event that was decided under it."""
    stale = world.process()
    await stale.run(create("p0", {}))  # nothing is defined, says S3, and that is believed for a while
    other = world.process()
    await other.run(define(FIRST))
    await other.run(create(payload={"name": "Lamp"}))
    world.redis.known.drop("shop/_class/Product")
    assert code(await stale.run(update(payload={"name": 7}))) is RejectionCode.PAYLOAD_INVALID


async def test_forgotten_definition_is_reloaded_before_long(world: World, monkeypatch: pytest.MonkeyPatch):
    stale = world.process()
    await stale.run(create("p0", {}))
    await world.process().run(define(FIRST))
    world.redis.flush()
    monkeypatch.setattr(class_schemas, "RECHECK_S", -1.0)
    assert code(await stale.run(create(payload={}))) is RejectionCode.PAYLOAD_INVALID


async def test_overstated_class_head_is_found_and_forgotten(world: World):
    ahead = World()
    for command in (define(FIRST), define(WIDER)):
        await ahead.process().run(command)
    world.redis.known = ahead.redis.known
    process = world.process()
    assert (await process.run(create(payload={"any": "thing"}))).outcome is Outcome.APPLIED
    assert world.redis.known.get("shop/_class/Product") is None


async def test_knowing_a_class_costs_one_call_of_redis_and_none_of_s3(world: World):
    process = world.process()
    await process.run(define(FIRST))
    await process.run(create("p0", {"name": "Lamp"}))
    world.bucket.requests.clear()
    world.redis.calls.clear()
    await process.commit(create(payload={"name": "Lamp"}))
    assert world.bucket.requests == {"PutObject": 2}
    assert world.redis.calls == {"claim_command": 1, "take_turn": 1, "hget": 1, "settle_turn": 1}


async def test_concurrent_commands_each_have_one_definition(world: World):
    """Versions follow one another while instances are created: every event fits the definition that it names."""
    processes = [world.process() for _ in range(4)]
    await processes[0].run(define(FIRST))

    async def evolve_class(process: Process) -> None:
        for command in (define(WIDER), define(SECOND)):
            assert (await process.run(command)).outcome is Outcome.APPLIED

    async def make(number: int) -> CommandResult:
        payload = {"name": "Lamp", "price": "1"} if number % 2 else {"name": "Lamp", "cost": 1}
        return await processes[number % 4].run(create(f"n{number}", payload))

    evolving = asyncio.create_task(evolve_class(processes[1]))
    results = await asyncio.gather(*(make(number) for number in range(60)))
    await evolving
    applied = [result for result in results if result.outcome is Outcome.APPLIED]
    assert applied
    logs = world.check()
    for result in applied:
        event = logs[str(result.aggregate_id)][0]
        reference = content_of(event).definition
        class_schema = await processes[0].pipeline.class_schemas.at(event.aggregate, reference)
        assert class_schema is not None
        assert class_schema.findings(event.data) == []


@pytest.mark.parametrize("databases", ["shop", "other,shop", "*"])
async def test_strict_database_refuses_undefined_classes(databases: str):
    world = World(settings=Settings(strict_databases=databases))
    here, elsewhere = world.process(), world.process()
    for _ in range(2):
        refused = await here.run(create("p1", command_id="c1"))
        assert code(refused) is RejectionCode.INVALID_COMMAND
        assert refused.rejection is not None
        assert refused.rejection.details == {"undefined_class": "shop/Product"}
        bulk_refused = await Attempt(elsewhere).run(bulk_create({"instance_id": "p2", "payload": {}}))
        assert isinstance(bulk_refused, BulkResult)
        assert bulk_refused.rejection == refused.rejection
        world.redis.flush()
    assert world.logs() == {}
    await here.run(define(FIRST))
    world.redis.flush()  # elsewhere hears of no definition, and looks before it refuses
    assert (await elsewhere.run(create("p1", {"name": "Lamp"}))).outcome is Outcome.APPLIED
    assert code(await elsewhere.run(create("p1", command_id="c1"))) is RejectionCode.INVALID_COMMAND
    world.check()


async def test_strict_database_changes_existing_instances():
    world = World()
    await world.process().run(create("p1"))
    world.settings = Settings(strict_databases="shop")
    strict = world.process()
    assert code(await strict.run(create("p2"))) is RejectionCode.INVALID_COMMAND
    assert (await strict.run(update("p1"))).outcome is Outcome.APPLIED
    assert (await strict.run(delete("p1"))).outcome is Outcome.APPLIED


async def test_other_databases_are_not_strict():
    world = World(settings=Settings(strict_databases="other"))
    assert (await world.process().run(create("p1"))).outcome is Outcome.APPLIED

"""Outcomes of commands, through the real command path on servers in memory."""

import asyncio

import pytest

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.events import SCHEMA_VERSIONS, EventType, read_event
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.domain.tokens import read_token
from oncelog.errors import EventFromFuture, LogDamaged, StoreUnavailable
from oncelog.stores.s3.bucket import StoredObject
from tests import promises
from tests.commands import create, delete, update
from tests.domain.former_events import sealed, write
from tests.write.world import NOON, World


@pytest.fixture
def world() -> World:
    return World()


async def test_an_instance_lives_dies_and_is_made_anew(world: World):
    process = world.process()
    commands = [create(payload={"a": 1}), update(payload={"b": 2}), delete(), create(payload={"c": 3}), update()]
    results = [await process.run(command) for command in commands]
    assert [result.outcome for result in results] == [Outcome.APPLIED] * 5
    assert [result.sequence_number for result in results] == [1, 2, 3, 4, 5]
    (events,) = world.check().values()
    assert [event.command_id for event in events] == [command.command_id for command in commands]
    world.check_document(commands[0].aggregate_id)


async def test_token_names_the_event_of_its_command(world: World):
    process = world.process()
    commands = [create(), update(), update(), delete()]
    for number, command in enumerate(commands, start=1):
        token = (await process.run(command)).consistency_token
        assert token is not None
        assert read_token(token) == {str(command.aggregate_id): number}
    for forgetful in (False, True):
        if forgetful:
            world.redis.flush()
        again = (await world.process().commit(commands[2])).consistency_token
        assert again is not None
        assert read_token(again) == {str(commands[2].aggregate_id): 3}


async def test_repeated_command_returns_its_first_result_unwritten(world: World):
    first, second = create(), update()
    for command in (first, second):
        await world.process().run(command)
    written = dict(world.bucket.objects)
    for _ in range(2):
        for command in (first, second):
            again = await world.process().commit(command, occurred_at="2030-01-01T00:00:00.000000Z")
            assert again.sequence_number == (1 if command is first else 2)
        world.redis.flush()
    assert world.bucket.objects == written


async def test_other_content_is_refused_after_redis_has_forgotten(world: World):
    command = create()
    await world.process().run(command)
    other = command.model_copy(update={"payload": {"n": 99}})
    for _ in range(2):
        refused = await world.process().commit(other)
        assert refused.rejection is not None
        assert refused.rejection.code is RejectionCode.COMMAND_ID_REUSED
        assert (await world.process().commit(command)).sequence_number == 1
        world.redis.flush()
    world.check()


@pytest.mark.parametrize(
    ("before", "refused", "code"),
    [
        ([], update, RejectionCode.INSTANCE_NOT_FOUND),
        ([], delete, RejectionCode.INSTANCE_NOT_FOUND),
        ([create], create, RejectionCode.INSTANCE_EXISTS),
        ([create, delete], update, RejectionCode.INSTANCE_DELETED),
        ([create, delete], delete, RejectionCode.INSTANCE_DELETED),
    ],
)
@pytest.mark.parametrize("forgetful", [False, True])
async def test_a_refusal_is_an_answer_that_binds_for_ever(world: World, before, refused, code, *, forgetful: bool):
    for make in before:
        await world.process().run(make())
    if forgetful:
        world.redis.flush()
    command = refused()
    first = await world.process().commit(command)
    assert first.rejection is not None
    assert first.rejection.code is code
    world.redis.flush()
    moved_on = update() if code is RejectionCode.INSTANCE_EXISTS else create()
    assert (await world.process().run(moved_on)).outcome is Outcome.APPLIED
    assert await world.process().commit(command) == first
    (events,) = world.check().values()
    assert len(events) == len(before) + 1


async def test_a_stale_expected_version_is_refused_with_what_was_found(world: World):
    process = world.process()
    await process.run(create(expected_version=0))
    result = await process.commit(update(expected_version=2))
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.VERSION_CONFLICT
    assert result.rejection.details == {"expected_version": 2, "found_version": 1}


async def test_a_class_that_differs_in_case_only_is_refused(world: World):
    await world.process().run(create())
    result = await world.process().commit(create("p2", class_id="PRODUCT"))
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.INVALID_COMMAND
    assert "shop/Product" in result.rejection.message


async def test_fifty_commands_at_once_take_fifty_slots_in_turn(world: World):
    processes = [world.process() for _ in range(5)]
    await processes[0].run(create())
    commands = [update(payload={f"k{number}": number}) for number in range(50)]
    results = await asyncio.gather(*(processes[number % 5].run(command) for number, command in enumerate(commands)))
    assert sorted(result.sequence_number for result in results if result.sequence_number) == list(range(2, 52))
    world.check()
    world.check_document(commands[0].aggregate_id)


@pytest.mark.parametrize("processes", [1, 4])
async def test_one_command_twenty_times_at_once_has_one_effect(world: World, processes: int):
    pool = [world.process() for _ in range(processes)]
    command = create()
    results = await asyncio.gather(*(pool[number % processes].run(command) for number in range(20)))
    assert {result.event_id for result in results} == {results[0].event_id}
    (events,) = world.check().values()
    assert len(events) == 1


async def test_the_first_attempts_time_counts(world: World):
    command = create()

    async def die_after_record(step: str) -> None:
        if step == "record":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await world.process().commit(command, after_step=die_after_record)
    await world.process().commit(command, occurred_at="2030-01-01T00:00:00.000000Z")
    (events,) = world.logs().values()
    assert events[0].occurred_at == NOON


async def test_kafka_outage_holds_up_no_command_and_order_is_kept(world: World):
    process = world.process()
    world.publisher.available = False
    for command in (create(), *(update() for _ in range(30))):
        assert (await process.commit(command)).outcome is Outcome.APPLIED
    assert world.publisher.messages == []
    world.publisher.available = True
    last = update()
    await world.process().run(last)
    assert len(world.publisher.messages) == 32
    world.check()


async def test_a_server_out_of_reach_is_an_error_and_changes_no_answer(world: World):
    command = create()
    for server in (world.redis, world.bucket):
        server.available = False
        with pytest.raises(StoreUnavailable):
            await world.process().commit(command)
        server.available = True
    assert (await world.process().run(command)).sequence_number == 1
    world.check()


async def test_a_damaged_event_is_never_built_upon(world: World):
    command = create()
    await world.process().run(command)
    key = f"events/{command.aggregate_id}/{1:020d}.json"
    stored = world.bucket.objects[key]
    world.bucket.objects[key] = StoredObject(stored.body.replace(b'"n":0', b'"n":7'), stored.metadata)
    world.redis.flush()
    with pytest.raises(LogDamaged):
        await world.process().commit(update())
    assert len([key for key in world.bucket.objects if key.startswith("events/")]) == 1


def rewrite(world: World, key: str, **change: object) -> None:
    """Let an object be what another release would have written into its slot."""
    event = read_event(world.bucket.objects[key].body, where=key)
    fields = sealed(event.model_dump(mode="json") | change)
    world.bucket.objects[key] = StoredObject(canonical_bytes(fields), world.bucket.objects[key].metadata)


async def test_event_from_the_future_holds_up_its_aggregate_only(world: World):
    """As when a worker of the next release runs beside one of this."""
    command = create()
    await world.process().run(command)
    key = f"events/{command.aggregate_id}/{1:020d}.json"
    rewrite(world, key, schema_version="3.0.0")
    world.redis.flush()
    written = dict(world.bucket.objects)
    for asked in (update(), create(), delete()):
        with pytest.raises(EventFromFuture, match="shop/Product/p1 1"):
            await world.process().commit(asked)
    assert {name for name in world.bucket.objects if name.startswith("events/")} == {
        name for name in written if name.startswith("events/")
    }
    assert (await world.process().run(create("p2"))).outcome is Outcome.APPLIED


async def test_a_log_begun_by_the_first_release_goes_on(world: World):
    first = write("1.0.0", "INSTANCE_CREATED", {"a": 1, "b": 2}, number=1, after=None)
    world.bucket.objects["events/geo/Country/DE/00000000000000000001.json"] = StoredObject(canonical_bytes(first))
    process = world.process()
    asked = update("DE", {"b": None}, db_name="geo", class_id="Country")
    assert (await process.run(asked)).sequence_number == 2
    audit = world.audit()
    promises.hold(audit.judge_log(), audit.stream.judge())  # the first event was planted, without its command
    (events,) = world.logs().values()
    assert [event.schema_version for event in events] == ["1.0.0", SCHEMA_VERSIONS[EventType.INSTANCE_UPDATED]]
    assert events[0].canonical == canonical_bytes(first)
    world.check_document(asked.aggregate_id)
    assert world.documents.indices["geo.country"]["DE"].body["data"] == {"a": 1}

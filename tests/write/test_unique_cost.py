"""The cost of unique values, in requests beyond those of the same command without one (docs/protocol.md, V1 to V6)."""

from collections import Counter
from typing import Any

import pytest

from oncelog.domain.commands import Command
from oncelog.domain.results import Outcome
from oncelog.settings import Settings
from tests.bulks import bulk_create, item
from tests.classes import define
from tests.commands import create, delete, update
from tests.unique_values import USERS, define_users
from tests.write.schedules import Dead
from tests.write.test_cost import bulk_cost, spent
from tests.write.world import Process, World

#: Of a command that brings no value in: its record and its event.
PLAIN = Counter({"PutObject": 2})
PLAIN_REDIS = Counter({"claim_command": 1, "take_turn": 1, "hget": 1, "settle_turn": 1})


async def world_of(definition: Command) -> World:
    world = World(settings=Settings(projection="stream"))
    await world.process().run(definition)
    return world


@pytest.fixture
async def world() -> World:
    return await world_of(define_users())


async def warm(world: World) -> Process:
    """Return a process that knows the class and no instance in question: objects read once per process are read."""
    process = world.process()
    await process.run(create(f"w{len(world.bucket.objects)}", {"n": 1}))
    return process


async def cost(world: World, process: Process, command: Command, outcome: Outcome) -> tuple[dict[str, int], Any]:
    """Return the requests to S3 beyond record and event, and the calls of Redis."""
    spent(world)
    assert (await process.commit(command)).outcome is outcome
    s3, redis = spent(world)
    s3.subtract(PLAIN if outcome is Outcome.APPLIED else {"PutObject": 1})
    return {name: number for name, number in s3.items() if number}, redis


async def test_a_class_without_constraints_costs_nothing_more():
    costs = []
    for unique in ({}, {"unique": USERS["unique"]}):
        world = await world_of(define({name: USERS[name] for name in ("version", "schema")} | unique))
        process = await warm(world)
        commands = [create("a", {"n": 1}), update("a", {"n": 2}), delete("a")]
        costs.append([await cost(world, process, command, Outcome.APPLIED) for command in commands])
    assert costs == [[({}, PLAIN_REDIS)] * 3] * 2, "nor one whose values are not brought in"


@pytest.mark.parametrize(
    ("payload", "values"), [({"email": "x"}, 1), ({"email": "x", "country": "CH", "plate": "1"}, 2)]
)
async def test_a_new_value_costs_one_put(world: World, payload: dict[str, Any], values: int):
    s3, redis = await cost(world, await warm(world), create("a", payload), Outcome.APPLIED)
    assert s3 == {"PutObject": values}
    assert redis - PLAIN_REDIS == {"mget": 1, "set": 1}, "of all values together"


async def test_a_value_that_is_kept_or_let_go_costs_nothing(world: World):
    process = await warm(world)
    await process.run(create("a", {"email": "x"}))
    for command in (update("a", {"n": 2}), update("a", {"email": "x"}), update("a", {"email": None}), delete("a")):
        assert await cost(world, process, command, Outcome.APPLIED) == ({}, PLAIN_REDIS)


@pytest.mark.parametrize(("knowing", "reads"), [(True, 1), (False, 3)])
async def test_a_value_free_again_costs_a_put_and_few_reads(world: World, reads: int, *, knowing: bool):
    """The end of its chain, and where another process let it go, the two events of the instance that had it."""
    process = await warm(world)
    await process.run(create("a", {"email": "x"}))
    await process.run(delete("a"))
    s3, _ = await cost(world, process if knowing else await warm(world), create("b", {"email": "x"}), Outcome.APPLIED)
    assert s3 == {"PutObject": 1, "GetObject": reads}


@pytest.mark.parametrize(("knowing", "reads"), [(True, 3), (False, 4)])
async def test_a_value_that_is_held_costs_one_put_in_all(world: World, reads: int, *, knowing: bool):
    """The end of its chain, the holder's head (in one request or two), and the slot of the command's own."""
    process = await warm(world)
    await process.run(create("a", {"email": "x"}))
    s3, redis = await cost(
        world, process if knowing else await warm(world), create("b", {"email": "x"}), Outcome.REJECTED
    )
    assert s3 == {"GetObject": reads}
    assert redis - PLAIN_REDIS == {"mget": 1}


async def test_a_holder_of_many_versions_costs_no_more(world: World):
    costs = []
    for name, versions in (("few", 20), ("many", 205)):
        await world.process().run(create(name, {"email": name}))
        process = await warm(world)
        for number in range(versions - 1):
            await process.commit(update(name, {"n": number}))
        s3, _ = await cost(world, await warm(world), create(f"not-{name}", {"email": name}), Outcome.REJECTED)
        costs.append(sum(s3.values()))
    few, many = costs
    assert many <= few + 8, f"{costs}"


async def test_without_a_hint_a_further_record_and_two_lists(world: World):
    await world.process().run(create("a", {"email": "x"}))
    process = await warm(world)
    world.redis.flush()
    s3, _ = await cost(world, process, create("b", {"email": "x"}), Outcome.REJECTED)
    # A record and an entry in vain; the entry read back and once more, the holder, the command's own head.
    assert s3 == {"PutObject": 2, "GetObject": 6, "ListObjectsV2": 2}
    s3, _ = await cost(world, process, create("c", {"email": "x"}), Outcome.REJECTED)
    assert s3 == {"GetObject": 3}, "the first one has left a hint"


async def test_a_pending_entry_costs_its_record_and_what_is_left(world: World):
    def die(operation: str, key: str) -> None:
        if operation == "PutObject" and key.startswith("events/shop/Product/a/"):
            raise Dead

    world.bucket.before = die
    with pytest.raises(Dead):
        await world.process().run(create("a", {"email": "x"}))
    world.bucket.before = lambda _operation, _key: None
    process = await warm(world)
    s3, _ = await cost(world, process, create("b", {"email": "x"}), Outcome.REJECTED)
    # Beyond the refusal without a hint: the dead command's record, its entry read back, its slot, and its event.
    assert s3 == {"PutObject": 4, "GetObject": 10, "ListObjectsV2": 2}


async def test_a_bulk_item_with_a_new_value_costs_one_put_more():
    costs = []
    for items in (100, 200):
        for email in (False, True):
            world = await world_of(define_users())
            await warm(world)
            made = [item(f"i{n}", {"n": n} | ({"email": f"m{n}"} if email else {})) for n in range(items)]
            costs.append((await bulk_cost(world, bulk_create(*made)))[0])
    plain, unique, plain_twice, unique_twice = costs
    assert unique - plain == {"PutObject": 100}
    assert unique_twice - plain_twice == {"PutObject": 200}

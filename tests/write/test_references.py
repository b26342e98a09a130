"""References that must exist, on servers in memory: looked for in S3, and in nothing else."""

import copy
from collections import Counter

import pytest

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.settings import Settings
from tests.commands import create, delete, update
from tests.required_references import PRODUCTS, applied, dangling, define_products, delete_maker, maker
from tests.unique_values import states
from tests.write.test_crashes import Crashed, crash_after
from tests.write.world import Process, World


@pytest.fixture
async def world() -> World:
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4, projection="stream"))
    await world.process().run(define_products())
    return world


def missing(result: CommandResult) -> tuple[str, int, int] | None:
    """Return target, its version, and how many are missing, of a result that says so."""
    if result.rejection is None:
        return None
    assert result.rejection.code is RejectionCode.REFERENCE_NOT_FOUND, result.rejection
    details = result.rejection.details
    return details["target"], details["target_version"], details["missing_count"]


async def test_target_must_exist(world: World):
    refused = create("p1", {"maker": "m1"})
    assert missing(await world.process().run(refused)) == ("shop/Maker/m1", 0, 1)
    await applied(
        world.process(), maker("m1"), maker("ü/1"), create("p1", {"maker": "m1"}), create("p2", {"maker": "ü/1"})
    )
    assert missing(await world.process().run(refused)) == ("shop/Maker/m1", 0, 1), "the first answer is the only one"


async def test_deleted_target_does_not_exist(world: World):
    process = world.process()
    await applied(process, maker("m1"), delete_maker("m1"))
    for reader in (process, world.process()):
        assert missing(await reader.run(create("p1", {"maker": "m1"}))) == ("shop/Maker/m1", 2, 1)
    await applied(process, maker("m1"), create("p1", {"maker": "m1"}))


async def test_update_is_refused_for_its_own_references_only(world: World):
    process = world.process()
    await applied(process, maker("m1"), maker("m2"), create("p1", {"maker": "m1", "n": 0}), delete_maker("m1"))
    assert dangling(world.bucket.objects) == {("shop/Product/p1", "shop/Maker/m1")}
    await applied(process, update("p1", {"n": 1}), update("p1", {"maker": "m1"}))
    assert missing(await process.run(update("p1", {"parts": ["p7", "p8"]}))) == ("shop/Product/p7", 0, 2)
    await applied(process, update("p1", {"maker": "m2"}))
    assert missing(await process.run(update("p1", {"maker": "m1"}))) == ("shop/Maker/m1", 2, 1)


async def test_deleted_referrer_may_be_created_again(world: World):
    process = world.process()
    await applied(process, maker("m1"), create("p1", {"maker": "m1"}), delete_maker("m1"), delete("p1"))
    assert missing(await process.run(create("p1", {"maker": "m1"}))) == ("shop/Maker/m1", 2, 1)
    await applied(process, create("p1", {"parts": ["p1"]}))


async def test_cached_target_is_looked_at_again(world: World):
    """The process knows the target as it was; another process has deleted it since."""
    process = world.process()
    await applied(process, maker("m1"), create("p1", {"maker": "m1"}))
    await applied(world.process(), delete_maker("m1"))
    assert missing(await process.run(create("p2", {"maker": "m1"}))) == ("shop/Maker/m1", 2, 1)
    await applied(world.process(), maker("m1"))
    await applied(process, create("p2", {"maker": "m1"}))


@pytest.mark.parametrize("lie", ["emptied", "rolled back", "overstated"])
async def test_redis_has_no_say(world: World, lie: str):
    await applied(world.process(), maker("m1"))
    known = copy.deepcopy(world.redis.known)
    await applied(world.process(), delete_maker("m1"), maker("m2"), update("m2", {"n": 1}, class_id="Maker"))
    match lie:
        case "emptied":
            world.redis.flush()
        case "rolled back":
            world.redis.known = known
        case _:
            world.redis.known.entries["shop/Maker/m3"] = world.redis.known.entries["shop/Maker/m2"]
            world.redis.known.entries["shop/Maker/m1"] = known.entries["shop/Maker/m1"]
    for name, version in (("m1", 2), ("m3", 0)):
        refused = await world.process().run(create(f"p-{name}", {"maker": name}))
        assert missing(refused) == (f"shop/Maker/{name}", version, 1)
    await applied(world.process(), create("p2", {"maker": "m2"}))


async def test_documents_and_graph_have_no_say(world: World):
    await applied(world.process(), maker("m1"))
    world.documents.indices.clear()
    world.graph.nodes.clear()
    await applied(world.process(), create("p1", {"maker": "m1"}))


async def test_rejection_rests_on_the_head_that_s3_shows(world: World):
    """Redis does not know of the instance, which exists: InstanceExists is due, whatever it would refer to."""
    await applied(world.process(), create("p1"))
    world.redis.flush()
    result = await world.process().run(create("p1", {"maker": "m1"}))
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.INSTANCE_EXISTS


async def test_instance_changed_meanwhile_is_decided_again(world: World):
    """While the target is looked for, another process makes the reference: it is not brought in any more."""
    process = world.process()
    await applied(process, maker("m1"), create("p1", {"n": 0}))
    meanwhile: list[Command] = [update("p1", {"maker": "m1"}), delete_maker("m1")]

    looked: list[str] = []
    world.bucket.before = lambda _operation, key: looked.append(key)

    async def change() -> None:
        if any(key.startswith("events/shop/Maker/m1/") for key in looked):
            world.bucket.before = lambda _operation, _key: None
            looked.clear()
            world.redis.leases.clear()
            while meanwhile:
                await applied(world.process(), meanwhile.pop(0))

    world.bucket.pause = change
    await applied(process, update("p1", {"maker": "m1", "n": 5}))
    assert meanwhile == []
    assert states(world.bucket.objects)["shop/Product/p1"][-1] == {"maker": "m1", "n": 5}


@pytest.mark.parametrize("step", ["record", "persist"])
async def test_target_deleted_after_the_decision_is_not_noticed(world: World, step: str):
    """The record stands, so the command goes forward: this is the case that is not promised."""
    await applied(world.process(), maker("m1"))
    command = create("p1", {"maker": "m1"})
    with pytest.raises(Crashed):
        await world.process().commit(command, after_step=crash_after(step))
    await applied(world.process(), delete_maker("m1"), command)
    assert dangling(world.bucket.objects) == {("shop/Product/p1", "shop/Maker/m1")}


async def test_target_deleted_before_the_record_is_noticed(world: World):
    await applied(world.process(), maker("m1"))
    command = create("p1", {"maker": "m1"})
    with pytest.raises(Crashed):
        await world.process().commit(command, after_step=crash_after("allocate"))
    await applied(world.process(), delete_maker("m1"))
    assert missing(await world.process().run(command)) == ("shop/Maker/m1", 2, 1)
    assert dangling(world.bucket.objects) == set()


async def test_old_reference_stays_when_must_exist_is_added(world: World):
    process = world.process()
    lax = {name: {**each, "must_exist": False} for name, each in PRODUCTS["relationships"].items()}
    await applied(process, define_products(version="1.0.1", relationships=lax))
    await applied(process, create("p1", {"maker": "m1", "n": 0}), define_products(version="1.0.2"))
    await applied(process, update("p1", {"n": 1}))
    assert missing(await process.run(create("p2", {"maker": "m1"}))) == ("shop/Maker/m1", 0, 1)


async def test_claims_and_references_of_one_command(world: World):
    await applied(world.process(), define_products(version="1.1.0", unique={"n": ["/n"]}), maker("m1"))
    await applied(world.process(), create("p1", {"maker": "m1", "n": 1}))
    assert missing(await world.process().run(create("p2", {"maker": "m2", "n": 2}))) == ("shop/Maker/m2", 0, 1)
    result = await world.process().run(create("p2", {"maker": "m2", "n": 1}))
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.UNIQUE_VIOLATED
    await applied(world.process(), create("p2", {"maker": "m1", "n": 2}))


async def cost(world: World, process: Process, command: Command) -> Counter[str]:
    world.bucket.requests.clear()
    assert (await process.commit(command)).outcome is Outcome.APPLIED
    return Counter(world.bucket.requests)


async def test_requests_of_a_look_at_a_target(world: World):
    process = world.process()
    await applied(process, *(maker(f"m{number}") for number in range(3)), create("p0"))
    await applied(process, *(update("m2", {"n": number}, class_id="Maker") for number in range(14)))
    puts = {"PutObject": 2}
    fresh = world.process()
    await applied(fresh, create("p1"))
    assert await cost(world, fresh, create("p2", {"n": 0})) == puts
    assert await cost(world, fresh, create("p3", {"maker": "m0"})) == {**puts, "GetObject": 2}
    assert await cost(world, fresh, create("p4", {"maker": "m0"})) == {**puts, "GetObject": 1}
    assert await cost(world, fresh, update("p4", {"maker": "m1"})) == {**puts, "GetObject": 2}
    assert await cost(world, fresh, update("p4", {"maker": "m1", "n": 7})) == puts
    assert await cost(world, fresh, update("p4", {"maker": None})) == puts
    assert await cost(world, fresh, delete("p4")) == puts
    assert (await cost(world, fresh, create("p5", {"maker": "m2"})))["GetObject"] <= 12
    assert await cost(world, fresh, create("p6", {"maker": "m2"})) == {**puts, "GetObject": 1}

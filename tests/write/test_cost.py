"""The cost of a command, in requests: constant, and little."""

from collections import Counter

import pytest

from oncelog.domain.aggregates import registered
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.testing.memory.pause import Pause
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create, update
from tests.own_domain import ACCOUNT, account_command
from tests.write.bulks import Attempt
from tests.write.sweeper import sweep
from tests.write.world import World


def spent(world: World) -> tuple[Counter[str], Counter[str]]:
    found = Counter(world.bucket.requests), Counter(world.redis.calls)
    world.bucket.requests.clear()
    world.redis.calls.clear()
    return found


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_instance_costs_two_puts_and_four_calls_of_redis(world: World):
    process = world.process()
    await process.run(create("p0"))  # the first one of its class claims the class' name
    spent(world)
    await process.commit(create("p1"))
    s3, redis = spent(world)
    assert s3 == {"PutObject": 2}
    assert redis == {"claim_command": 1, "take_turn": 1, "hget": 1, "settle_turn": 1}


async def test_first_own_command_costs_what_a_new_instance_does(world: World):
    with registered(ACCOUNT):
        process = world.process()
        await process.run(account_command("DEPOSIT", 1))
        spent(world)
        await process.commit(account_command("DEPOSIT", 1, instance_id="a2"))
        s3, redis = spent(world)
        assert s3 == {"PutObject": 2}
        assert redis == {"claim_command": 1, "take_turn": 1, "hget": 1, "settle_turn": 1}


@pytest.mark.parametrize(
    ("command_type", "amount", "expected_version", "costs"),
    [
        # a first record and a first slot in vain, then as known before; a refusal of the empty state costs a GET
        ("DEPOSIT", 1, None, {"PutObject": 4, "GetObject": 5, "ListObjectsV2": 1}),
        ("WITHDRAW", 1, None, {"PutObject": 2, "GetObject": 5, "ListObjectsV2": 1}),
        ("DEPOSIT", 1, 1, {"PutObject": 2, "GetObject": 4, "ListObjectsV2": 1}),
    ],
    ids=["accepted in every state", "refused in the empty state", "a version is expected"],
)
async def test_own_command_on_a_forgotten_stream(
    world: World, command_type: str, amount: int, expected_version: int | None, costs: dict[str, int]
):
    with registered(ACCOUNT):
        await world.process().run(account_command("DEPOSIT", 10))
        process = world.process()
        await process.run(account_command("DEPOSIT", 1, instance_id="a2"))
        world.redis.flush()
        spent(world)
        command = account_command(command_type, amount, expected_version=expected_version)
        assert (await process.commit(command)).sequence_number == 2
        assert spent(world)[0] == costs
        world.check(published=False)


async def test_a_change_by_the_process_that_made_it_costs_two_puts(world: World):
    process = world.process()
    await process.run(create())
    spent(world)
    await process.commit(update())
    s3, redis = spent(world)
    assert s3 == {"PutObject": 2}
    assert sum(redis.values()) == 4


async def test_a_change_by_another_process_reads_the_predecessor_only(world: World):
    await world.process().run(create())
    process = world.process()
    await process.run(create("p2"))
    spent(world)
    await process.commit(update())
    assert spent(world)[0] == {"PutObject": 2, "GetObject": 1}


@pytest.mark.parametrize("forgetful", [False, True])
async def test_a_long_stream_costs_no_more_than_a_short_one(*, forgetful: bool):
    costs = []
    for length in (15, 1_005):
        world = World()
        process = world.process()
        await process.run(create("other"))
        await process.run(create())
        for _ in range(length - 1):
            await process.commit(update())
        fresh = world.process()
        await fresh.run(create("another"))
        if forgetful:
            world.redis.flush()
        spent(world)
        assert (await fresh.commit(update())).sequence_number == length + 1
        costs.append(sum(spent(world)[0].values()))
    short, long = costs
    assert long <= short + 8, (
        f"{costs}"
    )  # a listing finds the head in a number of requests that grows with its logarithm


async def bulk_cost(world: World, bulk: Bulk) -> tuple[Counter[str], Counter[str]]:
    spent(world)
    result = await Attempt(world.process()).run(bulk)
    assert isinstance(result, BulkResult)
    assert result.counts.applied == result.counts.items
    return spent(world)


async def test_bulk_item_costs_one_put():
    costs = []
    for items in (500, 1_000):
        world = World()
        await world.process().run(create("p0"))
        costs.append(await bulk_cost(world, bulk_create(*(item(f"n{number}") for number in range(items)))))
    (small_s3, small_redis), (large_s3, large_redis) = costs
    assert large_s3 - small_s3 == {"PutObject": 501, "GetObject": 3}  # the chunk's record, read back for the results
    assert small_s3["PutObject"] == 500 + 4  # the command's record, the chunk's, results and summary
    assert large_redis - small_redis == {"take_turn": 1, "settle_turn": 1, "hget": 2}  # for deciding, for the graph


async def test_items_of_one_instance_read_nothing_between():
    costs = []
    for items in (10, 30):
        world = World()
        await world.process().run(create("n0"))
        costs.append(await bulk_cost(world, bulk_update(*(item("n0", {"n": number}) for number in range(items)))))
    assert costs[1][0] - costs[0][0] == {"PutObject": 20}
    assert costs[1][1] == costs[0][1]


async def test_item_on_a_foreign_event_reads_its_predecessor_once():
    costs = []
    for items in (200, 400):
        world = World()
        names = [f"n{number}" for number in range(items)]
        await Attempt(world.process()).run(bulk_create(*(item(name) for name in names)))
        costs.append(await bulk_cost(world, bulk_update(*(item(name, {"n": 1}) for name in names))))
    assert costs[1][0] - costs[0][0] == {"PutObject": 200, "GetObject": 200}
    assert costs[1][1] == costs[0][1]


async def test_check_asks_each_store_once_per_200_aggregates():
    world = World()
    names = [f"n{number}" for number in range(250)]
    await bulk_cost(world, bulk_create(*(item(name) for name in names)))
    asked: Counter[str] = Counter()

    def counting(name: str) -> Pause:
        async def pause() -> None:
            asked[name] += 1

        return pause

    world.documents.pause, world.graph.pause = counting("documents"), counting("graph")
    tally = await sweep(world)
    assert (tally.aggregates, tally.closed, tally.projected) == (250, 1, 0)  # the bulk's status is not kept
    assert asked == {"documents": 2 + 1, "graph": 2}  # the index of the class once for all of the page
    assert spent(world)[1]["hget"] == 2 + 2  # the watermarks, and the heads of their classes

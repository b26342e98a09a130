"""Names that differ only in case: only a fact claims one, whatever is rejected, and wherever an attempt dies."""

import asyncio
from typing import Any

import pytest

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.records import record_of
from oncelog.domain.results import CommandResult, Outcome, Rejection, RejectionCode
from oncelog.errors import StoreUnavailable
from oncelog.testing.memory.s3 import MemoryBucket
from oncelog.verification.findings import Code
from tests.bulks import bulk_create, bulk_update
from tests.classes import FIRST, define, retire
from tests.commands import create, update
from tests.write.bulks import Attempt
from tests.write.sweeper import sweep
from tests.write.test_crashes import Crashed, crash_after
from tests.write.world import NOON, World

SPELLINGS = [("shop", "product"), ("Shop", "Product"), ("SHOP", "PRODUCT")]


@pytest.fixture
def world() -> World:
    return World()


def spelled(command: Command, db_name: str, class_id: str) -> Command:
    """Return another command, with an ID of its own, on the same under another spelling."""
    fields = command.model_dump(mode="json", exclude_none=True)
    named = {"command_id": f"{command.command_id}.{db_name}", "db_name": db_name, "class_id": class_id}
    return Command.model_validate(fields | named)


def bulk_spelled(bulk: Bulk, db_name: str, class_id: str) -> Bulk:
    return Bulk.model_validate(
        bulk.as_json | {"command_id": f"{bulk.command_id}.{db_name}", "db_name": db_name, "class_id": class_id}
    )


def claims(world: World) -> set[str]:
    return {key for key in world.bucket.objects if key.startswith("names/")}


def is_collision(result: CommandResult | None, existing: str) -> bool:
    rejection = result.rejection if result else None
    return (
        rejection is not None
        and rejection.code is RejectionCode.INVALID_COMMAND
        and rejection.details == {"existing": existing}
    )


async def run_bulk(world: World, bulk: Bulk) -> BulkResult:
    result = await Attempt(world.process()).run(bulk)
    assert isinstance(result, BulkResult)
    return result


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "rejected",
    [
        update("p1"),
        create("p1", expected_version=7),
        retire(),
        define({"version": "1.0.0", "schema": {"type": "nonsense"}}),
        define(FIRST, expected_version=3),
    ],
)
async def test_rejected_command_claims_no_name(world: World, rejected: Command, spelling: tuple[str, str]):
    assert (await world.process().run(rejected)).outcome is Outcome.REJECTED
    assert claims(world) == set()
    assert (await world.process().run(spelled(create("p1"), *spelling))).outcome is Outcome.APPLIED
    world.check()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "bulk",
    [
        bulk_update({"instance_id": "p1", "payload": {"n": 1}}),
        bulk_create({"instance_id": "p1", "payload": {}, "expected_version": 4}, {"payload": 7}),
    ],
)
async def test_bulk_of_rejected_items_claims_no_name(world: World, bulk: Bulk, spelling: tuple[str, str]):
    result = await run_bulk(world, bulk)
    assert result.counts.rejected == result.counts.items
    assert result.counts.applied == 0
    assert claims(world) == set()
    applied = await run_bulk(world, bulk_spelled(bulk_create({"instance_id": "p1", "payload": {}}), *spelling))
    assert applied.counts.applied == 1
    world.check()


async def test_reused_command_id_claims_no_name(world: World):
    await world.process().run(create("p1", command_id="c-1"))
    world.redis.flush()
    again = create("p1", command_id="c-1", db_name="other", class_id="Thing")
    result = await world.process().run(again)
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.COMMAND_ID_REUSED
    assert claims(world) == {"names/shop.json", "names/shop/product.json"}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("fact", [create("p1"), define(FIRST)])
async def test_fact_claims_its_name(world: World, fact: Command, spelling: tuple[str, str]):
    assert (await world.process().run(fact)).outcome is Outcome.APPLIED
    for other in (create("p2"), update("p1"), define(FIRST), retire()):
        result = await world.process().run(spelled(other, *spelling))
        assert is_collision(result, "shop/Product")
    bulk = bulk_spelled(bulk_create({"instance_id": "p3", "payload": {}}), *spelling)
    assert (await run_bulk(world, bulk)).rejection is not None
    world.check()


class Held:
    """Holds back a process before it claims, so that another spelling's command is bound meanwhile."""

    def __init__(self) -> None:
        self.bound, self.go_on = asyncio.Event(), asyncio.Event()

    async def after_record(self, step: str) -> None:
        if step in ("record", "bulk_record"):
            self.bound.set()
            await self.go_on.wait()


async def test_of_two_bound_commands_one_gets_the_name(world: World):
    held, loser = Held(), create("p1", command_id="loser")
    losing = asyncio.create_task(world.process().commit(loser, after_step=held.after_record))
    await held.bound.wait()
    winner = spelled(create("p1", command_id="winner"), "shop", "product")
    assert (await world.process().run(winner)).outcome is Outcome.APPLIED
    held.go_on.set()
    assert is_collision(await losing, "shop/product")
    world.redis.flush()
    assert is_collision(await world.process().run(loser), "shop/product")
    assert {str(name) for name in world.check()} == {"shop/product/p1"}


async def test_of_two_bound_bulk_commands_one_gets_the_name(world: World):
    held = Held()
    loser = bulk_create({"instance_id": "p1", "payload": {}}, {"instance_id": "p1"}, {"instance_id": "p2"})
    losing = asyncio.create_task(Attempt(world.process(), after_step=held.after_record).run(loser))
    await held.bound.wait()
    winner = bulk_spelled(bulk_create({"instance_id": "p1", "payload": {}}), "shop", "product")
    assert (await run_bulk(world, winner)).counts.applied == 1
    held.go_on.set()
    result = await losing
    assert isinstance(result, BulkResult)
    assert (result.counts.applied, result.counts.rejected) == (0, result.counts.items)
    world.redis.flush()
    assert await run_bulk(world, loser) == result
    assert {str(name) for name in world.check()} == {"shop/product/p1"}


async def test_command_that_died_before_its_claim_is_refused(world: World):
    loser = create("p1")
    with pytest.raises(Crashed):
        await world.process().commit(loser, after_step=crash_after("record"))
    assert claims(world) == set()
    winner = spelled(create("p1"), "Shop", "product")
    assert (await world.process().run(winner)).outcome is Outcome.APPLIED
    await sweep(world)
    assert is_collision(await world.process().run(loser), "Shop/product")
    world.check()


async def test_bulk_that_died_before_its_claim_is_refused(world: World):
    loser = bulk_create({"instance_id": "p1", "payload": {}}, {"instance_id": "p2", "payload": {}})
    with pytest.raises(Crashed):
        await Attempt(world.process(), after_step=crash_after("bulk_record")).run(loser)
    assert claims(world) == set()
    assert (await world.process().run(spelled(create("p1"), "shop", "product"))).outcome is Outcome.APPLIED
    result = await run_bulk(world, loser)
    assert result.counts.rejected == 2
    world.check()


async def test_command_that_died_after_its_claim_becomes_a_fact(world: World, monkeypatch: pytest.MonkeyPatch):
    first, process = create("p1"), world.process()

    async def unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailable("S3", "writing", "gone")

    with monkeypatch.context() as broken:
        broken.setattr(process.ports.event_log, "append_event", unavailable)
        with pytest.raises(StoreUnavailable):
            await process.commit(first)
    assert claims(world) == {"names/shop.json", "names/shop/product.json"}
    assert is_collision(await world.process().run(spelled(create("p1"), "shop", "product")), "shop/Product")
    await sweep(world)
    assert (await world.process().run(first)).sequence_number == 1
    world.check()


async def test_death_between_the_two_claims_is_finished(world: World, monkeypatch: pytest.MonkeyPatch):
    first, process = create("p1"), world.process()
    put = MemoryBucket.put_if_absent

    async def put_or_die(bucket: MemoryBucket, key: str, *more: Any, **named: Any) -> Any:
        if key == "names/shop/product.json":
            raise Crashed
        return await put(bucket, key, *more, **named)

    with monkeypatch.context() as broken:
        broken.setattr(MemoryBucket, "put_if_absent", put_or_die)
        with pytest.raises(Crashed):
            await process.commit(first)
    assert claims(world) == {"names/shop.json"}
    assert (await world.process().run(spelled(create("p1"), "shop", "product"))).outcome is Outcome.APPLIED
    assert is_collision(await world.process().run(first), "shop/product")
    assert (await world.process().run(spelled(create("p1"), "shop", "Order"))).outcome is Outcome.APPLIED
    world.check()


async def test_verify_names_a_forged_collision(world: World):
    assert (await world.process().run(create("p1"))).outcome is Outcome.APPLIED
    bound, process = create("p2"), world.process()
    with pytest.raises(Crashed):
        await process.commit(bound, after_step=crash_after("record"))
    rejection = Rejection(code=RejectionCode.INVALID_COMMAND, message="forged", details={"existing": "shop/product"})
    await process.ports.records.write_record(record_of(bound, number=2, occurred_at=NOON, end=rejection))
    codes = {finding.code for finding in world.audit().commands.judge()}
    assert Code.RECORD_UNFOUNDED in codes

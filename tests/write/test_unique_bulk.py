"""Unique values in bulk commands, on servers in memory: each item claims for itself, and one event comes of it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.domain.unique.entry import ValueChain
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.settings import Settings
from oncelog.write.unique.chains import ChainEnd, ValueChains
from tests.bulks import bulk_create, bulk_delete, bulk_update, item
from tests.commands import create, delete, update
from tests.unique_values import define_users, doubled, holders
from tests.write.bulks import ends, run_for_lines
from tests.write.schedules import Dead, Schedule, mishaps_of
from tests.write.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=3, projection="stream"))
    await world.process().run(define_users())
    yield world
    world.check(published=False)


def mail(name: str, email: str | None) -> dict[str, Any]:
    return item(name, {"email": email})


async def test_of_two_items_that_want_a_value_one_gets_it(world: World):
    lines = await run_for_lines(world, bulk_create(mail("a", "x"), mail("b", "x"), mail("c", "y"), mail("d", "x")))
    assert sorted(ends(lines, "holder"))[0] == "APPLIED"
    assert ends(lines, "holder").count("APPLIED") == 2
    assert len(holders(world.bucket.objects, "email")) == 2
    assert doubled(world.bucket.objects) == {}


async def test_item_is_refused_what_another_instance_holds(world: World):
    await world.process().run(create("h", {"email": "x"}))
    for flush in (False, True):
        if flush:
            world.redis.flush()
        lines = await run_for_lines(world, bulk_create(mail("a", "x"), mail("b", "y")))
        assert ends(lines, "holder")[0] == "UniqueViolated shop/Product/h"


async def test_later_item_takes_again_what_an_earlier_one_let_go(world: World):
    await world.process().run(create("a", {"email": "x"}))
    lines = await run_for_lines(world, bulk_update(mail("a", "w"), mail("a", "x"), mail("a", None)))
    assert ends(lines, "holder") == ["APPLIED", "APPLIED", "APPLIED"]
    assert holders(world.bucket.objects, "email") == {}
    entries = sorted(key for key in world.bucket.objects if key.startswith("unique/"))
    assert len(entries) == 3


async def test_items_after_a_refused_one_go_on_without_it(world: World):
    await world.process().run(create("h", {"email": "x"}))
    await world.process().run(create("a", {"email": "a", "n": 0}))
    lines = await run_for_lines(world, bulk_update(mail("a", "x"), item("a", {"n": 1}), mail("a", "y")))
    assert ends(lines, "holder") == ["UniqueViolated shop/Product/h", "APPLIED", "APPLIED"]
    assert holders(world.bucket.objects, "email") == {("x",): ["shop/Product/h"], ("y",): ["shop/Product/a"]}


async def test_deleted_and_created_again(world: World):
    await run_for_lines(world, bulk_create(*(mail(f"i{n}", f"m{n}") for n in range(8))))
    await run_for_lines(world, bulk_delete(*(item(f"i{n}") for n in range(8))))
    lines = await run_for_lines(world, bulk_create(*(mail(f"j{n}", f"m{n}") for n in range(8))))
    assert set(ends(lines, "holder")) == {"APPLIED"}
    lines = await run_for_lines(world, bulk_create(*(mail(f"i{n}", f"m{n}") for n in range(8))))
    assert ends(lines, "holder") == [f"UniqueViolated shop/Product/j{n}" for n in range(8)]


async def test_value_taken_in_turns_by_one_instance_needs_one_record(world: World):
    await world.process().run(create("a", {"email": "x", "country": "CH", "plate": "1"}))
    bulk = bulk_update(*(mail("a", "xy"[n % 2]) for n in range(1, 10)), item("a", {"plate": "2"}))
    world.settings = Settings(snapshot_interval_events=100, bulk_chunk_items_max=20, projection="stream")
    assert set(ends(await run_for_lines(world, bulk), "holder")) == {"APPLIED"}
    records = [key for key in world.bucket.objects if key.startswith(f"commands/{bulk.command_id}/chunks/")]
    assert len(records) == 1
    assert holders(world.bucket.objects, "email") == {("y",): ["shop/Product/a"]}


async def test_item_refused_one_value_names_no_place_of_its_other_one(world: World):
    """The next item of the instance takes the other value, in the place that the refused one did not take."""
    await world.process().run(create("h", {"country": "CH", "plate": "1"}))
    await world.process().run(create("a", {}))
    both = item("a", {"email": "x", "country": "CH", "plate": "1"})
    lines = await run_for_lines(world, bulk_update(both, mail("a", "x"), mail("a", None), mail("a", "x")))
    assert ends(lines, "holder") == ["UniqueViolated shop/Product/h", "APPLIED", "APPLIED", "APPLIED"]


async def test_refusal_of_an_item_rests_on_a_later_head(world: World, monkeypatch: pytest.MonkeyPatch):
    """As for single commands (V5): between two looks, the own instance is deleted and another takes the value."""
    for command in (create("c", {"email": "x"}), delete("c"), create("a", {"n": 0})):
        await world.process().run(command)
    world.redis.flush()  # so that the first record names a place that is taken, and the head is read from S3
    real, others = ValueChains.end, [delete("a"), create("b", {"email": "x"})]

    async def end(self: ValueChains, chain: ValueChain, *, last_place: int | None) -> ChainEnd:
        while others:
            world.redis.leases.clear()
            await world.process().commit(others.pop(0))
        return await real(self, chain, last_place=last_place)

    monkeypatch.setattr(ValueChains, "end", end)
    assert ends(await run_for_lines(world, bulk_update(mail("a", "x"))), "holder") == ["InstanceDeleted"]


@pytest.mark.parametrize("seed", range(60))
async def test_one_holder_and_one_event_whatever_the_order(world: World, seed: int):
    dice = random.Random(seed)
    process = world.process()
    await process.run(create("a", {"email": "x"}))
    bulks = [
        bulk_create(mail("c", "x"), mail("d", "z"), mail("e", "x"), mail("f", "w")),
        bulk_update(mail("a", "z"), mail("a", "x"), mail("a", "w"), item("a", {"n": 3})),
        bulk_create(mail("d", "w"), mail("g", "z")),
    ]
    singles = [update("a", {"email": None}), create("b", {"email": "x"}), delete("a"), create("g", {"email": "w"})]
    results: dict[str, set[str]] = {}

    async def attempt(request: Bulk | Command) -> None:
        while True:
            try:
                if isinstance(request, Bulk):
                    answer = json.dumps(ends(await run_for_lines(world, request), "holder"))
                else:
                    answer = json.dumps((await world.process().commit(request)).model_dump(mode="json"), sort_keys=True)
            except (Dead, StoreUnavailable, AggregateBusy):
                continue
            results.setdefault(request.command_id, set()).add(answer)
            return

    schedule = Schedule(dice, mishaps_of(world), chance=0.03, dying=0.01)
    world.bucket.pause = world.redis.pause = schedule.pause
    requests: list[Bulk | Command] = [*dice.sample(bulks, 2), *dice.sample(singles, 2)]
    attempts = [asyncio.create_task(attempt(request)) for request in requests for _ in range(2)]
    await schedule.drive(attempts)  # type: ignore[arg-type]
    await asyncio.gather(*attempts)
    assert doubled(world.bucket.objects) == {}
    assert [answers for answers in results.values() if len(answers) > 1] == []
    _check_one_event_of_each_item(world)


def _check_one_event_of_each_item(world: World) -> None:
    seen: set[str] = set()
    for key, stored in world.bucket.objects.items():
        if key.startswith("events/"):
            event_id = json.loads(stored.body)["event_id"]
            assert event_id not in seen, key
            seen.add(event_id)

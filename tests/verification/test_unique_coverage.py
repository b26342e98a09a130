"""``InstanceUncovered``: for as long as an instance may be covered by an update, and for no longer."""

from typing import Any

from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code
from tests.classes import define, retire
from tests.commands import create, delete, update
from tests.unique_values import USERS, define_users
from tests.write.world import World

WITHOUT: dict[str, Any] = {name: value for name, value in USERS.items() if name != "unique"}


async def uncovered(world: World) -> list[str]:
    """Return the instances that verification finds not to be covered."""
    audit = world.audit()
    return [finding.where for finding in audit.judge() if finding.code is Code.INSTANCE_UNCOVERED]


async def test_instance_is_uncovered_until_its_next_event():
    world = World()
    process = world.process()
    await process.run(define(WITHOUT))
    for name in ("a", "b", "c"):
        await process.run(create(name, {"email": name}))
    assert await uncovered(world) == []
    await process.run(define_users(version="1.1.0"))
    await process.run(update("a", {}))
    await process.run(delete("b"))
    assert await uncovered(world) == ["aggregate shop/Product/c"]


async def test_constraint_that_came_back_covers_anew():
    world = World()
    process = world.process()
    await process.run(define_users())
    await process.run(create("a", {"email": "a"}))
    await process.run(define({**WITHOUT, "version": "1.1.0"}))
    await process.run(define_users(version="1.2.0"))
    assert await uncovered(world) == ["aggregate shop/Product/a"]
    await process.run(update("a", {}))
    assert await uncovered(world) == []


async def test_instances_of_a_retired_class_are_left_alone():
    world = World()
    process = world.process()
    await process.run(define(WITHOUT))
    await process.run(create("a", {"email": "a"}))
    await process.run(define_users(version="1.1.0"))
    await process.run(retire())
    assert await uncovered(world) == []


async def test_event_written_since_the_check_began_covers_too():
    world = World()
    process = world.process()
    await process.run(define(WITHOUT))
    await process.run(create("a", {"email": "a"}))
    await process.run(define_users(version="1.1.0"))
    await process.run(update("a", {}))
    audit = Audit()
    events = [key for key in world.bucket.objects if key.startswith("events/")]
    for key in sorted(events, key=lambda key: ("/_class/" not in key, key)):
        is_update = key.endswith("Product/a/00000000000000000002.json")
        audit.add_object(key, world.bucket.objects[key].body, is_due=not is_update)
    audit.end_log()
    assert audit.logs["shop/Product/a"].head == 1
    assert list(audit.unique.uncovered()) == []

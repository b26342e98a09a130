"""Bulk commands that came to every end there is, and everything that may be done to what they left behind."""

import json
from typing import Any

from oncelog.bulk.run import Progress
from oncelog.domain.canonical import canonical_bytes
from oncelog.settings import Settings
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import update
from tests.verification.damage import Damage, add_event, drop, event_of, key_of, resealed, rewrite
from tests.write.bulks import Attempt, run_bulk, upload
from tests.write.test_crashes import Crashed
from tests.write.world import World

MADE, CHANGED, STOPPED, MOVED = "made-1", "changed-1", "stopped-1", "moved-1"
P3, P5 = "shop/Product/p3", "shop/Product/p5"


async def healthy() -> World:
    """One made inline, one uploaded that also refuses, one cancelled in the middle, and one that was displaced."""
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4))
    await run_bulk(world, bulk_create(*(item(f"p{n}", {"n": n}) for n in range(10)), command_id=MADE, actor="ann"))
    repeated = [*(item(f"p{n}", {"n": 0}) for n in range(6)), *(item("p1", {f"k{n}": n}) for n in range(3))]
    await run_bulk(world, upload(world, bulk_update(*repeated, item("nobody"), "rubbish", command_id=CHANGED)))
    await _cancel(world)
    await _displace(world)
    return world


async def _cancel(world: World) -> None:
    bulk = bulk_create(*(item(f"q{n}") for n in range(9)), command_id=STOPPED)
    reached = await Attempt(world.process(), stop_after=1).run(bulk)
    assert isinstance(reached, Progress)
    await Attempt(world.process()).close(bulk, reached)


async def _displace(world: World) -> None:
    """Let others take the slots that its first record names before it comes to write them."""

    async def die(step: str) -> None:
        if step == "bulk_record":
            raise Crashed

    bulk = bulk_update(*(item(f"p{n}", {"moved": True}) for n in (7, 7, 8)), command_id=MOVED)
    try:
        await Attempt(world.process(), die).run(bulk)
    except Crashed:
        world.redis.flush()
        await world.process().run(update("p7", command_id="faster"))
    await run_bulk(world, bulk)
    assert chunk_key(MOVED, 1, 2) in world.bucket.objects


def chunk_key(command_id: str, chunk: int, number: int) -> str:
    return f"commands/{command_id}/chunks/{chunk:06d}/{number:06d}.json"


def rewrite_chunk(world: World, key: str, to: str | None = None, **changes: Any) -> None:
    fields = json.loads(world.bucket.objects[key].body) | changes
    world.bucket.objects[to or key] = StoredObject(canonical_bytes(fields))


def rebind(world: World, key: str, index: int, **changes: Any) -> None:
    """Change one binding of a chunk's record."""
    bindings = json.loads(world.bucket.objects[key].body)["bindings"]
    rewrite_chunk(world, key, bindings=[b | changes if b["index"] == index else b for b in bindings])


def add_second_event(world: World) -> None:
    """Give the item that made p3 an event in p5's log, too."""
    event, head = event_of(world, P3, 1), event_of(world, P5, 2)
    place = {"aggregate_id": P5, "instance_id": "p5", "sequence_number": 3}
    add_event(world, resealed(event, **place, previous_checksum=head.checksum))


def add_chunk_after_close(world: World) -> None:
    rewrite_chunk(world, chunk_key(STOPPED, 1, 1), chunk_key(STOPPED, 3, 1), chunk=3)


def change_results(world: World, command_id: str, name: str, old: bytes, new: bytes) -> None:
    key = f"reports/bulk/{command_id}/{name}"
    body = world.bucket.objects[key].body
    assert old in body
    world.bucket.objects[key] = StoredObject(body.replace(old, new, 1))


PLANTED = [
    Damage("a bulk command's record is lost", lambda w: drop(w, f"commands/{MADE}/000001.json"), Code.RECORD_MISSING),
    Damage("a chunk's record is lost", lambda w: drop(w, chunk_key(MADE, 2, 1)), Code.RECORD_MISSING),
    Damage("a chunk's last record is lost", lambda w: drop(w, chunk_key(MADE, 3, 1)), Code.COMMAND_UNFINISHED),
    Damage("a chunk's first record is lost", lambda w: drop(w, chunk_key(MOVED, 1, 1)), Code.RECORD_MISSING),
    Damage("a chunk's further record is lost", lambda w: drop(w, chunk_key(MOVED, 1, 2)), Code.COMMAND_UNFINISHED),
    Damage(
        "a chunk's record is cut short",
        lambda w: w.bucket.objects.update({chunk_key(MADE, 2, 1): StoredObject(b"{")}),
        Code.RECORD_UNREADABLE,
    ),
    Damage(
        "a chunk's record is another one's",
        lambda w: rewrite_chunk(w, chunk_key(MADE, 2, 1), chunk_key(MADE, 3, 1)),
        Code.RECORD_FORGED,
    ),
    Damage(
        "a chunk has a further record without need",
        lambda w: rewrite_chunk(w, chunk_key(MADE, 1, 1), chunk_key(MADE, 1, 2), number=2),
        Code.RECORD_UNFOUNDED,
    ),
    Damage("a chunk follows the end of its command", add_chunk_after_close, Code.RECORD_UNFOUNDED),
    Damage("an item's slot is altered", lambda w: rebind(w, chunk_key(MADE, 1, 1), 3, slot=9), Code.EVENT_UNBOUND),
    Damage("the event of an item is lost", lambda w: drop(w, key_of(P5, 2)), Code.COMMAND_UNFINISHED),
    Damage("an item has a second event", add_second_event, Code.EVENT_DOUBLED),
    Damage("an item's event is forged", lambda w: rewrite(w, "shop/Product/p9", 1, data={"n": 7}), Code.EVENT_FORGED),
    Damage("an uploaded item's event is forged", lambda w: rewrite(w, P5, 2, actor="eve"), Code.EVENT_FORGED),
    Damage(
        "results name another outcome",
        lambda w: change_results(w, CHANGED, "results.ndjson", b'"APPLIED"', b'"REJECTED"'),
        Code.RESULTS_WRONG,
    ),
    Damage(
        "results count other numbers",
        lambda w: change_results(w, CHANGED, "summary.json", b'"applied":9', b'"applied":8'),
        Code.RESULTS_WRONG,
    ),
    Damage("results are lost", lambda w: drop(w, f"reports/bulk/{MADE}/results.ndjson"), Code.RESULTS_MISSING),
]

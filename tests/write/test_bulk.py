"""Bulk commands on servers in memory: every item comes to the one end that a command of its own would have come to."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from oncelog.bulk.run import Progress, RunControl
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.canonical import sha256_hex
from oncelog.domain.events import Event
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.replay.trace import nothing_after
from oncelog.settings import Settings
from oncelog.stores.s3 import StoredObject
from tests.bulks import bulk_create, bulk_delete, bulk_update, item, reference
from tests.classes import FIRST, SECOND, define
from tests.commands import create, update
from tests.write.bulks import Attempt, check, check_results, lines, run_bulk, upload
from tests.write.test_crashes import _copy, _restore
from tests.write.world import World


@pytest.fixture
def world() -> World:
    return World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4))


def refused(result: CommandResult) -> str:
    assert result.outcome is Outcome.REJECTED
    assert result.rejection is not None
    return result.rejection.code


@pytest.mark.parametrize("uploaded", [False, True])
async def test_every_item_is_applied_once_and_everything_follows(world: World, *, uploaded: bool):
    bulk = bulk_create(*(item(f"p{number}", {"n": number}) for number in range(11)))
    if uploaded:
        bulk = upload(world, bulk)
    result = await run_bulk(world, bulk)
    assert (result.outcome, result.counts.applied, result.counts.rejected) == (Outcome.APPLIED, 11, 0)
    check_results(world, result)
    states = [events[-1].data for events in world.logs().values()]
    assert sorted(state["n"] for state in states) == list(range(11))


async def test_items_that_change_and_delete_follow_what_is_there(world: World):
    await run_bulk(world, bulk_create(*(item(f"p{number}", {"n": 0}) for number in range(6))))
    changed = await run_bulk(world, bulk_update(*(item(f"p{number}", {"n": 1}) for number in range(8))))
    assert (changed.counts.applied, changed.counts.rejected) == (6, 2)
    rejections = [line["rejection"] for line in lines(world, changed) if "rejection" in line]
    assert [rejection["code"] for rejection in rejections] == ["InstanceNotFound"] * 2
    deleted = await run_bulk(world, bulk_delete(*(item(f"p{number}") for number in (1, 1, 2))))
    assert (deleted.counts.applied, deleted.counts.rejected) == (2, 1)
    for result in (changed, deleted):
        check_results(world, result)


async def test_items_of_one_instance_keep_their_order(world: World):
    await world.process().run(create("p1"))
    bulk = bulk_update(*(item("p1", {"n": number, f"k{number}": True}) for number in range(11)))
    result = await run_bulk(world, bulk)
    found = check_results(world, result)
    assert [line["sequence_number"] for line in found] == list(range(2, 13))
    (events,) = world.logs().values()
    assert [event.data["n"] for event in events[1:]] == list(range(11))


async def test_items_without_an_instance_each_get_one(world: World):
    result = await run_bulk(world, bulk_create(*(item(payload={"n": number}) for number in range(5))))
    assert len({line["aggregate_id"] for line in check_results(world, result)}) == 5


async def test_invalid_item_is_rejected_alone(world: World):
    rubbish: list[Any] = [7, {"instance_id": ""}, {"payload": []}, {"instance_id": "p1", "colour": "red"}, None]
    result = await run_bulk(world, bulk_create(item("p0"), *rubbish, item("p9")))
    found = check_results(world, result)
    assert [line["outcome"] for line in found] == ["APPLIED", *["REJECTED"] * 5, "APPLIED"]
    assert {line["rejection"]["code"] for line in found[1:-1]} == {"InvalidCommand"}


async def test_lines_that_are_no_json_are_rejected_by_themselves(world: World):
    payload, _ = reference([{}])
    body = b'{"instance_id": "p0"}\n{\n\n{"instance_id": "p3", "payload": {"n": 1e999}}\n{"instance_id": "p4"}'
    bulk = upload(world, bulk_create(item()))
    digest = sha256_hex(body)
    payload = {"items_key": payload["items_key"], "items_sha256": digest, "items_count": 5}
    world.bucket.objects[payload["items_key"]] = StoredObject(body)
    result = await run_bulk(world, Bulk.model_validate(bulk.as_json | {"payload": payload}))
    found = check_results(world, result)
    assert [line["outcome"] for line in found] == ["APPLIED", "REJECTED", "REJECTED", "REJECTED", "APPLIED"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"items_key": "payloads/nothing.ndjson"}, "nothing lies there"),
        ({"items_sha256": "0" * 64}, "items_sha256: expected 0000"),
        ({"items_count": 4}, "items_count: expected 4, found 3"),
    ],
)
async def test_items_that_are_not_what_was_named_refuse_the_whole(world: World, change: dict[str, Any], problem: str):
    bulk = upload(world, bulk_create(item("p1"), item("p2"), item("p3")))
    payload = bulk.as_json["payload"] | change
    bulk = Bulk.model_validate(bulk.as_json | {"payload": payload})
    for _ in range(2):
        result = await run_bulk(world, bulk)
        assert refused(result) is RejectionCode.INVALID_COMMAND
        assert problem in (result.rejection.message if result.rejection else "")
        assert result.counts.items == 0
        world.redis.flush()
    assert world.logs() == {}


async def test_another_spelling_of_the_class_refuses_the_whole(world: World):
    await world.process().run(create("p1"))
    bulk = Bulk.model_validate(bulk_create(item("p2")).as_json | {"class_id": "product"})
    assert refused(await run_bulk(world, bulk)) is RejectionCode.INVALID_COMMAND


@pytest.mark.parametrize("forgetful", [False, True])
async def test_the_same_command_gets_its_first_result_for_ever(world: World, *, forgetful: bool):
    bulk = bulk_create(*(item(f"p{number}") for number in range(6)))
    first = await run_bulk(world, bulk)
    await world.process().run(update("p1"))
    if forgetful:
        world.redis.flush()
    again = await run_bulk(world, bulk)
    assert again == first
    assert len(check_results(world, first)) == 6


async def test_a_result_that_was_lost_is_told_anew_from_the_records(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(6)), item("p1"))
    first = await run_bulk(world, bulk)
    await world.process().run(update("p1"))
    world.redis.flush()
    for key in [key for key in world.bucket.objects if key.startswith("reports/")]:
        del world.bucket.objects[key]
    assert await run_bulk(world, bulk) == first
    check_results(world, first)


@pytest.mark.parametrize("forgetful", [False, True])
async def test_an_id_is_used_by_one_command_only(world: World, *, forgetful: bool):
    bulk = bulk_create(item("p1"), command_id="b")
    single = create("p2", command_id="s")
    await run_bulk(world, bulk)
    await world.process().run(single)
    if forgetful:
        world.redis.flush()
    other = bulk_create(item("p3"), command_id="b")
    assert refused(await run_bulk(world, other)) is RejectionCode.COMMAND_ID_REUSED
    assert refused(await run_bulk(world, bulk_create(item("p3"), command_id="s"))) is RejectionCode.COMMAND_ID_REUSED
    assert refused(await world.process().run(create("p3", command_id="b"))) is RejectionCode.COMMAND_ID_REUSED
    assert sorted(check(world)) == ["shop/Product/p1", "shop/Product/p2"]


async def test_items_changed_after_acceptance_are_not_applied(world: World):
    bulk = upload(world, bulk_create(*(item(f"p{number}") for number in range(6))))
    await Attempt(world.process(), stop_after=1).run(bulk)
    key = bulk.as_json["payload"]["items_key"]
    world.bucket.objects[key] = StoredObject(world.bucket.objects[key].body.replace(b"p5", b"p7"))
    with pytest.raises(LogDamaged, match="chunk 2"):
        await Attempt(world.process()).run(bulk, Progress(next_chunk=2))
    assert len(world.logs()) == 4


async def test_stopped_run_ends_between_chunks_and_resumes_there(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    stopped = await Attempt(world.process(), stop_after=1).run(bulk)
    assert isinstance(stopped, Progress)
    assert (stopped.next_chunk, stopped.applied, stopped.undelivered) == (2, 4, ())
    assert len(check(world, finished=False)) == 4
    result = await Attempt(world.process()).run(bulk, stopped)
    assert isinstance(result, BulkResult)
    assert result.counts.applied == 10
    check_results(world, result)


async def test_closed_command_reports_and_does_no_more(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    stopped = await Attempt(world.process(), stop_after=1).run(bulk)
    assert isinstance(stopped, Progress)
    closed = await Attempt(world.process()).close(bulk, stopped)
    assert (closed.counts.applied, closed.counts.not_attempted, closed.closed) == (4, 6, "CANCELLED")
    check_results(world, closed)
    world.redis.flush()
    assert await run_bulk(world, bulk) == closed
    assert await Attempt(world.process()).close(bulk, stopped) == closed
    assert len(world.logs()) == 4


async def test_closing_finishes_a_bound_chunk_and_closes_the_next(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    stopped = await Attempt(world.process(), stop_after=1).run(bulk)
    assert isinstance(stopped, Progress)
    closings: list[BulkResult] = []

    async def close_meanwhile(step: str) -> None:
        if step == "bulk_record" and not closings:
            closings.append(await Attempt(world.process()).close(bulk, stopped))

    zombie = await Attempt(world.process(), close_meanwhile).run(bulk, stopped)
    assert isinstance(zombie, BulkResult)
    assert zombie == closings[0]
    assert (zombie.counts.applied, zombie.counts.not_attempted) == (8, 2)
    check_results(world, zombie)


async def test_closing_what_has_ended_changes_nothing(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(5)))
    result = await run_bulk(world, bulk)
    assert await Attempt(world.process()).close(bulk, Progress(next_chunk=1)) == result


@pytest.mark.parametrize("server", ["publisher", "documents"])
async def test_writing_goes_on_while_stream_or_documents_are_away(world: World, server: str):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    store = getattr(world, server)
    store.available = False
    attempt = Attempt(world.process())
    with pytest.raises(StoreUnavailable):
        await attempt.run(bulk)
    assert attempt.heard is not None
    assert (attempt.heard.next_chunk, attempt.heard.undelivered) == (4, (1, 2, 3))
    assert len(world.logs()) == 10
    store.available = True
    result = await Attempt(world.process()).run(bulk, attempt.heard)
    assert isinstance(result, BulkResult)
    check_results(world, result)


async def test_chunk_with_one_unpublished_event_is_delivered_later(world: World, monkeypatch: pytest.MonkeyPatch):
    publish, refused = world.publisher.publish_events, list[Sequence[Event]]()

    async def refuse_once(events: Sequence[Event]) -> None:
        if events[0].aggregate_id.endswith("/p2") and not refused:
            refused.append(events)
            raise StoreUnavailable("Kafka in memory", "publishing", "a test")
        await publish(events)

    monkeypatch.setattr(world.publisher, "publish_events", refuse_once)
    result = await run_bulk(world, bulk_create(item("p1"), item("p2")))
    assert refused
    check_results(world, result)


async def test_bulk_leaves_documents_to_projectors_that_are_set():
    world = World(settings=Settings(projection="stream"))
    result = await run_bulk(world, bulk_create(item("p1")))
    assert result.counts.applied == 1
    assert not world.documents.indices.get("shop.product")


async def test_stopped_delivery_returns_the_chunks_left(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    world.publisher.available = False
    attempt = Attempt(world.process())
    with pytest.raises(StoreUnavailable):
        await attempt.run(bulk)
    assert attempt.heard is not None
    assert attempt.heard.undelivered == (1, 2, 3)
    world.publisher.available = True
    runner, heard = attempt.process.pipeline.bulk.runner, [attempt.heard]
    record = await attempt.process.pipeline.bulk.opener.record(bulk.command_id)
    stop_after_one = RunControl(lambda: len(heard) > 1, heard.append, nothing_after)
    left = await runner.deliver(record, [1, 2, 3], stop_after_one)
    assert left == [2, 3]
    assert heard[-1].undelivered == (2, 3)
    assert len(world.publisher.messages) == 4
    assert await runner.deliver(record, left, RunControl(lambda: False, heard.append, nothing_after)) == []
    check(world, finished=False)


async def test_run_ends_in_order_when_writing_is_impossible(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))

    async def fall_silent(step: str) -> None:
        if step == "bulk_settle":
            world.bucket.available = False

    stopped = await Attempt(world.process(), fall_silent).run(bulk)
    assert isinstance(stopped, Progress)
    assert stopped.next_chunk in (2, 3)
    with pytest.raises(StoreUnavailable):
        await Attempt(world.process()).process.pipeline.bulk.opener.record(bulk.command_id)
    world.bucket.available = True
    result = await Attempt(world.process()).run(bulk, stopped)
    assert isinstance(result, BulkResult)
    check_results(world, result)


async def test_bulk_commands_and_single_ones_share_their_instances(world: World):
    names = [f"p{number}" for number in range(4)]
    await run_bulk(world, bulk_create(*(item(name, {"n": 0}) for name in names)))
    process, other = world.process(), world.process()
    bulks = [bulk_update(*(item(name, {f"b{number}": 1}) for name in names * 3)) for number in range(3)]
    singles = [update(name, {f"s{number}": 1}) for number in range(5) for name in names]
    results = await asyncio.gather(
        *(Attempt(process if number % 2 else other).run(bulk) for number, bulk in enumerate(bulks)),
        *((process, other)[number % 2].run(single) for number, single in enumerate(singles)),
    )
    for result in results[:3]:
        assert isinstance(result, BulkResult)
        assert result.counts.applied == 12
        check_results(world, result)
    assert {len(events) for events in world.logs().values()} == {1 + 9 + 5}


async def test_a_summary_that_is_damaged_is_told_anew(world: World):
    bulk = bulk_create(item("p1"))
    result = await run_bulk(world, bulk)
    world.redis.flush()
    key = f"reports/bulk/{bulk.command_id}/summary.json"
    assert json.loads(world.bucket.objects[key].body)["counts"]["applied"] == 1
    world.bucket.objects[key] = StoredObject(b"{")
    assert await run_bulk(world, bulk) == result


async def test_items_are_decided_under_the_recorded_definition(world: World):
    process = world.process()
    await process.run(define(FIRST))
    bulk = bulk_create(item("p1", {"name": "Lamp"}), item("p2", {"price": 7}), item("p3", {"name": "Chair"}))

    async def define_another(step: str) -> None:
        if step == "bulk_record":
            await world.process().run(define(SECOND))

    result = await run_bulk(world, bulk, define_another)
    found = check_results(world, result)
    assert [line["outcome"] for line in found] == ["APPLIED", "REJECTED", "APPLIED"]
    assert found[1]["rejection"]["code"] == "PayloadInvalid"
    record = await process.ports.chunk_records.read_chunk_record(bulk.command_id, 1, 1)
    assert record is not None
    assert record.definition is not None
    assert record.definition.version == "1.0.0"
    later = await run_bulk(world, bulk_update(item("p1", {"colour": "red"}), item("p3", {"cost": "much"})))
    assert [line["outcome"] for line in check_results(world, later)] == ["APPLIED", "REJECTED"]


async def test_bound_item_is_decided_anew_on_its_predecessor(world: World):
    """This attempt decided on an older predecessor than the slot has that another one's record binds the item to."""
    await world.process().run(create("p1"))
    older = _copy(world.redis)
    await world.process().run(update("p1", {"b": 2}))
    newer = _copy(world.redis)
    _restore(world.redis, older)
    bulk = bulk_update(item("p1", {"c": 3}))

    async def dies(step: str) -> None:
        if step == "bulk_record":
            raise RuntimeError("the worker died")

    async def another_is_faster(step: str) -> None:
        if step == "bulk_decide":
            _restore(world.redis, newer)
            with pytest.raises(RuntimeError):
                await run_bulk(world, bulk, dies)

    result = await run_bulk(world, bulk, another_is_faster)
    (line,) = check_results(world, result)
    assert line["sequence_number"] == 3
    record = await world.process().ports.chunk_records.read_chunk_record(bulk.command_id, 1, 2)
    assert record is None  # the slot that the first record names was free


async def test_items_bound_while_undefined_stay_undefined(world: World):
    """Another attempt decided the items once more, under a definition, before it saw the record that binds them."""
    bulk = bulk_create(item("p1", {"name": "Lamp"}), item("p2", {"price": 7}))
    recorded, others = asyncio.Event(), []

    async def wait(step: str) -> None:
        if step == "bulk_decide":
            await recorded.wait()

    async def first_of_all(step: str) -> None:
        if step == "bulk_decide":
            await world.process().run(define(FIRST))
            others.append(asyncio.create_task(run_bulk(world, bulk, wait)))
            while world.redis.calls["take_turn"] < 3:  # of this attempt, the class, and the other attempt
                await asyncio.sleep(0)
        if step == "bulk_record":
            recorded.set()
            raise RuntimeError("the worker died")

    with pytest.raises(RuntimeError):
        await run_bulk(world, bulk, first_of_all)
    (result,) = await asyncio.gather(*others)
    assert [line["outcome"] for line in check_results(world, result)] == ["APPLIED", "APPLIED"]
    events = [world.logs()[f"shop/Product/{name}"][0] for name in ("p1", "p2")]
    assert [event.data.get("definition") for event in events] == [None, None]


async def test_outage_of_snapshots_holds_up_no_chunk(world: World):
    def refuse(operation: str, key: str) -> None:
        if operation == "PutObject" and key.startswith("snapshots/"):
            raise StoreUnavailable("S3 in memory", f"{operation} {key}", "no space")

    await world.process().run(create("p1"))
    world.bucket.before = refuse
    result = await run_bulk(world, bulk_update(*(item("p1", {"n": number}) for number in range(12))))
    assert result.counts.applied == 12
    check_results(world, result)


async def test_instance_ahead_of_its_class_cache_is_decided_under_it(world: World):
    """Redis rolled back knows nothing of the second definition, and neither does this process, but an event does."""
    process = world.process()
    await process.run(define(FIRST))
    await process.run(create("p1", {"name": "Lamp", "price": "7"}))
    older = _copy(world.redis)
    behind = world.process()
    await behind.run(update("p1", {"price": "8"}))
    await process.run(define(SECOND))
    await process.run(update("p1", {"cost": 9}))
    _restore(world.redis, older)
    result = await Attempt(behind).run(bulk_update(item("p1", {"price": "10"}), item("p1", {"cost": 11})))
    assert isinstance(result, BulkResult)
    found = check_results(world, result)
    assert [line["outcome"] for line in found] == ["REJECTED", "APPLIED"]

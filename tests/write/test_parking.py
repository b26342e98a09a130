"""A state that can never be projected waits for a person; its commands do not, and nothing of it is forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid, LogDamaged, OncelogError, StoreUnavailable
from oncelog.ports import Documents
from oncelog.read_models.dead_letter_service import DeadLetterService, newest_state
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.parking import SEEN_WITHIN, Parking
from oncelog.replay.trace import Trace
from oncelog.stores.s3.bucket import StoredObject
from oncelog.testing.memory.s3 import MemoryDeadLetters, MemoryEventLog, MemorySnapshots
from tests.commands import create, update
from tests.contract.chains import PLACE
from tests.write.world import World


@pytest.fixture
def world() -> World:
    return World()


def parking_of(world: World) -> Parking:
    return Parking(read_model="documents", dead_letters=MemoryDeadLetters(world.bucket), failures=world.failures)


def dead_letter_service_of(world: World, documents: Documents | None = None) -> DeadLetterService:
    log = MemoryEventLog(world.bucket)
    project_newest = newest_state(log, MemorySnapshots(world.bucket), DocumentsModel(documents or world.documents))
    return DeadLetterService(log=log, project_newest=project_newest, parking=parking_of(world))


async def park(world: World, sequence_number: int = 1) -> None:
    await parking_of(world).park(PLACE, sequence_number=sequence_number, error=InputInvalid("never"))


async def test_parking_again_writes_no_second_dead_letter(world: World):
    for _ in range(3):
        await park(world)
    dead_letters = await MemoryDeadLetters(world.bucket).dead_letter_history("documents", PLACE)
    assert [(each.kind, each.code, each.reason) for each in dead_letters] == [
        (DeadLetterKind.PARKED, "InputInvalid", "never")
    ]
    assert len(world.failures.announced) == 3


async def test_outage_of_the_log_parks_nothing(world: World):
    def refuse(operation: str, key: str) -> None:
        if key.startswith("events/"):
            raise StoreUnavailable("S3 in memory", f"{operation} {key}", "a test")

    await world.process().commit(create())
    process = world.process()
    world.bucket.before = refuse
    with pytest.raises(StoreUnavailable):
        await process.pipeline.deliverer.project_or_park(PLACE, 1, Trace())
    assert not await MemoryDeadLetters(world.bucket).dead_letter_history("documents", PLACE)


async def test_damaged_event_is_parked_and_not_tried_for_ever(world: World):
    await world.process().commit(create())
    key = f"events/{PLACE}/{1:020d}.json"
    whole = world.bucket.objects[key]
    world.bucket.objects[key] = StoredObject(whole.body[:-1], whole.metadata)
    assert not await world.process().pipeline.deliverer.project_or_park(PLACE, 1, Trace())
    dead_letters = await MemoryDeadLetters(world.bucket).dead_letter_history("documents", PLACE)
    assert [dead_letter.code for dead_letter in dead_letters] == ["LogDamaged"]


async def test_who_parks_and_dies_before_telling_tells_when_repeated(world: World):
    world.failures.available = False
    with pytest.raises(StoreUnavailable):
        await park(world)
    world.failures.available = True
    await park(world)
    assert len(world.failures.announced) == 1


async def test_what_waits_is_left_alone_by_whoever_has_heard_of_it(world: World):
    process = world.process()
    await process.run(create())
    await dead_letter_service_of(world).pause(PLACE, by="ann", reason="the index is being mended")
    for model in process.pipeline.models:
        await model.parking.refresh()
    result = await process.commit(update())
    trace = Trace()
    assert not await process.pipeline.deliverer.project_or_park(PLACE, result.sequence_number or 0, trace)
    assert [(step.name, "the index is being mended" in step.note) for step in trace.steps] == [("park", True)]
    assert world.graph.nodes[PLACE].sequence_number == 2  # it waits in one read model only
    assert world.documents.indices["shop.product"]["p1"].sequence_number == 1
    resumed = await dead_letter_service_of(world).resume(PLACE, by="ann")
    assert resumed.kind is DeadLetterKind.RESOLVED
    world.check_document(PLACE)
    assert await process.pipeline.deliverer.project_or_park(PLACE, result.sequence_number or 0, Trace())


async def test_skip_names_operator_and_reason_and_lets_later_ones_pass(world: World):
    process = world.process()
    for command in (create(), update(), update()):
        await process.commit(command)
    await park(world, sequence_number=2)
    skipped = await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    assert skipped.kind is DeadLetterKind.RESOLVED
    world.check_document(PLACE)
    dead_letters = await MemoryDeadLetters(world.bucket).dead_letter_history("documents", PLACE)
    assert [(each.kind, each.by) for each in dead_letters] == [
        (DeadLetterKind.PARKED, "oncelog"),
        (DeadLetterKind.SKIPPED, "ann"),
        (DeadLetterKind.RESOLVED, "ann"),
    ]
    assert dead_letters[1].reason == "of no use"


async def test_a_skip_of_the_head_shows_nothing(world: World):
    await world.process().commit(create())
    await park(world)
    await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    assert world.documents.indices == {}


async def test_skipped_version_is_not_parked_again(world: World):
    await world.process().commit(create())
    await park(world)
    await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    parking = parking_of(world)
    late = await parking.park(PLACE, sequence_number=1, error=InputInvalid("never"))
    assert late.kind is DeadLetterKind.RESOLVED
    damaged = await parking.park(PLACE, sequence_number=1, wanted=2, error=LogDamaged("at 1, so there is no 2"))
    assert damaged.kind is DeadLetterKind.PARKED
    assert len(world.failures.announced) == 2


async def test_parking_a_later_version_keeps_what_was_skipped(world: World):
    await world.process().commit(create())
    await park(world)
    await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    await world.process().commit(update())
    parked = await parking_of(world).park(PLACE, sequence_number=2, error=InputInvalid("never"))
    assert (parked.kind, parked.given_up_through) == (DeadLetterKind.PARKED, 1)


async def test_nothing_is_folded_past_a_damaged_event_by_skipping_it(world: World):
    process = world.process()
    await process.run(create())
    for _ in range(2):
        await process.commit(update())
    key = f"events/{PLACE}/{2:020d}.json"
    whole = world.bucket.objects[key]
    world.bucket.objects[key] = StoredObject(whole.body[:-1], whole.metadata)
    await park(world, sequence_number=2)
    again = await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    assert (again.kind, again.code) == (DeadLetterKind.PARKED, "LogDamaged")
    assert world.documents.indices["shop.product"]["p1"].sequence_number == 1


async def test_refresh_learns_each_later_dead_letter(world: World):
    await world.process().run(create())
    one, other = dead_letter_service_of(world), parking_of(world)
    heard: list[bool] = []
    for number in range(2):
        await one.pause(PLACE, by="ann", reason=f"pause {number}")
        await other.refresh()
        heard.append(other.may_wait(PLACE))
        await one.resume(PLACE, by="ann")
        await other.refresh()
        heard.append(other.may_wait(PLACE))
    assert heard == [True, False, True, False]


async def test_refresh_reads_nothing_without_news(world: World):
    await park(world)
    parking = parking_of(world)
    await parking.refresh()
    world.bucket.requests.clear()
    await parking.refresh()
    assert world.bucket.requests == {"ListObjectsV2": 1}


@pytest.mark.parametrize("age", [timedelta(0), 10 * SEEN_WITHIN])
async def test_refresh_reads_resolved_dead_letters_once(world: World, age: timedelta):
    await world.process().commit(create())
    await park(world)
    await dead_letter_service_of(world).retry(PLACE, by="ann")
    world.bucket.clock = lambda: datetime.now(UTC) + age
    other = AggregateId.of("shop", "Product", "p2")
    await parking_of(world).park(other, sequence_number=1, error=InputInvalid("never"))
    parking = parking_of(world)
    for _ in range(2):
        await parking.refresh()
    world.bucket.requests.clear()
    await parking.refresh()
    assert world.bucket.requests == {"ListObjectsV2": 1}


@pytest.mark.parametrize("what", ["retry", "resume", "skip"])
async def test_what_was_never_parked_cannot_be_mended(world: World, what: str):
    with pytest.raises(InputInvalid, match="never parked"):
        await getattr(dead_letter_service_of(world), what)(PLACE, by="ann", reason="x")
    assert world.bucket.objects == {}


async def test_unfinished_retry_is_visible_and_finished_by_the_next(world: World):
    await world.process().commit(create())
    await park(world)
    world.documents.available = False
    with pytest.raises(StoreUnavailable):
        await dead_letter_service_of(world).retry(PLACE, by="ann")
    parking = parking_of(world)
    await parking.refresh()
    (left,) = parking.unfinished()
    assert (left.kind, left.waits) == (DeadLetterKind.RETRYING, False)
    world.documents.available = True
    finished = await dead_letter_service_of(world).finish(left)
    assert (finished.kind, finished.by) == (DeadLetterKind.RESOLVED, "ann")
    world.check_document(PLACE)


async def test_concurrent_operators_write_one_line_of_dead_letters(world: World):
    await world.process().commit(create())
    await park(world)
    one = dead_letter_service_of(world)
    await one.retry(PLACE, by="ann")
    with pytest.raises(InputInvalid):
        await dead_letter_service_of(world).retry(PLACE, by="bob")
    dead_letters = await MemoryDeadLetters(world.bucket).dead_letter_history("documents", PLACE)
    assert [each.number for each in dead_letters] == [1, 2, 3]
    assert all(datetime.fromisoformat(each.at) <= datetime.now(UTC) for each in dead_letters)


@pytest.mark.parametrize("error", [InputInvalid("never"), ZeroDivisionError("a defect")])
async def test_the_reason_is_kept_with_its_code(world: World, error: Exception):
    dead_letter = await parking_of(world).park(AggregateId.parse("shop/Product/p9"), sequence_number=3, error=error)
    assert dead_letter.code == (error.code if isinstance(error, OncelogError) else "Defect")
    assert str(error) in dead_letter.reason
